"""Whatever workers, clients and time do to the queue, in any order: what must hold holds."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from promptmill.store.db.database import Database
from tests.conftest import FakeClock
from tests.store.queue_machine import QueueMachine

IN_CI = settings(
    max_examples=30,
    stateful_step_count=50,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
"""The same steps at every run, so that a red build is red again; `tests.proof` draws new ones."""

OFTEN = ("claim", "paced", "finished", "fenced", "rescue", "cancelled", "run_again")
SELDOM = (
    "expired",
    "lease_lost",
    "stopped",
    "request_pause",
    "request_resume",
    "request_cancel",
    "change",
    "close",
    "delete",
    "old_list",
    "clock_back",
)
"""Only a long run is sure to meet these; `tests.proof` has it."""


def run_machine(database: Database, clock: FakeClock, how: settings) -> Counter[str]:
    """Run the machine; answers what happened, and how often, over all its examples."""
    happened: Counter[str] = Counter()
    attributes = {"database": database, "clock": clock, "happened": happened}
    machine = type("Machine", (QueueMachine,), attributes)
    run_state_machine_as_test(machine, settings=how)
    return happened


@pytest.mark.parametrize(
    "database_url",
    ["sqlite", pytest.param("postgresql", marks=[pytest.mark.postgresql, pytest.mark.proof])],
    indirect=True,
)
def test_what_must_hold_holds_after_every_step(database: Database, clock: FakeClock) -> None:
    happened = run_machine(database, clock, IN_CI)
    assert [what for what in OFTEN if not happened[what]] == []
