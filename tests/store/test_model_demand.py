"""Which models the batches want, and whose wish for how long a model stays was the last."""

from __future__ import annotations

import pytest

from promptmill.domain.batches import PromptDraft
from promptmill.store.batches import transitions
from promptmill.store.batches.scheduling import model_demand
from promptmill.store.db.database import Database
from tests.store.farm import Farm


@pytest.fixture
def farm(database: Database) -> Farm:
    return Farm(database)


def wanted(farm: Farm, *models: str) -> list[bool]:
    read = farm.database.read_now
    return [read(model_demand.is_wanted, f"{model}:latest") for model in models]


def test_a_model_is_wanted_while_a_prompt_for_it_waits_or_runs(farm) -> None:
    farm.submit(1, model="a")
    waits = wanted(farm, "a", "b")
    (lease,) = farm.leases()
    runs = wanted(farm, "a")
    farm.complete(lease)

    assert (waits, runs, wanted(farm, "a")) == ([True, False], [True], [False])


def test_a_model_with_load_options_and_that_of_a_single_prompt_are_wanted_too(farm) -> None:
    own = PromptDraft("x", None, {"model": "c"})
    farm.submit(
        prompts=[PromptDraft("y"), own], model="a", parameters={"options": {"num_ctx": 512}}
    )

    assert wanted(farm, "a", "c", "b") == [True, True, False]


def test_a_name_that_begins_alike_and_one_with_wildcards_are_other_models(farm) -> None:
    farm.submit(1, model="ab")

    assert wanted(farm, "a", "a_", "a%", "ab") == [False, False, False, True]


def test_a_paused_batch_wants_nothing_until_it_is_resumed(farm) -> None:
    batch_id = farm.submit(1, model="a")
    farm.database.write_now(transitions.request_pause, batch_id)
    paused = wanted(farm, "a")
    farm.database.write_now(transitions.request_resume, batch_id)

    assert (paused, wanted(farm, "a")) == ([False], [True])


def test_the_stays_are_those_of_batches_that_began_and_ended_lately_the_last_one_last(
    farm, clock
) -> None:
    def stays() -> list[tuple[str, object, float]]:
        found = farm.database.read_now(model_demand.last_stays, within_ms=300_000)
        return [(one.model, one.parameters.get("keep_alive"), one.ended_s_ago) for one in found]

    farm.submit(1, model="never", parameters={"keep_alive": 0})
    farm.submit(1, model="a", parameters={"keep_alive": 0}, priority=2)
    (lease,) = farm.leases(1)
    farm.complete(lease)
    farm.close()
    clock.forward(200)
    farm.submit(1, model="b", priority=1)
    farm.leases(1)

    assert stays() == [("a:latest", 0, 200.0), ("b:latest", None, 0.0)]
    clock.forward(100)
    assert stays() == [("b:latest", None, 0.0)]
