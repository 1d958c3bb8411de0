"""The state machine of the suite, with new steps at every run and many more of them.

python -m tests.proof machine [--scale X]
"""

from __future__ import annotations

from hypothesis import Phase, settings

from promptmill.store.db import schema
from promptmill.store.db.database import Database
from tests.conftest import FakeClock
from tests.own_postgresql import OwnPostgresql
from tests.proof.processes import scratch, table
from tests.store.test_state_machine import IN_CI, OFTEN, SELDOM, run_machine

EXAMPLES = 300
STEPS = 80


def main(*, scale: float) -> None:
    """On both databases; raises with the shortest steps to the fault that it finds."""
    with scratch("machine") as folder:
        _run("SQLite", f"sqlite:///{folder / 'promptmill.db'}", scale)
        server = OwnPostgresql(folder / "postgresql")
        try:
            _run("PostgreSQL", server.socket_url, scale)
        finally:
            server.close()


def _run(kind: str, url: str, scale: float) -> None:
    schema.upgrade(url)
    clock = FakeClock()
    database = Database(url, clock=clock)
    examples = max(round(EXAMPLES * scale), 1)
    how = settings(
        IN_CI,
        max_examples=examples,
        stateful_step_count=STEPS,
        derandomize=False,
        phases=(Phase.generate, Phase.shrink),
        print_blob=True,
    )
    try:
        happened = run_machine(database, clock, how)
    finally:
        database.close_now()
    table(sorted(happened.items()), title=f"{kind}, {examples} runs of up to {STEPS} steps")
    never = [what for what in (*OFTEN, *SELDOM) if not happened[what]]
    assert not never or scale < 1, f"never happened: {never}"
