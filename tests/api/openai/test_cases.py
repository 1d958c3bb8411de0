"""The forty cases of the dialect's contract, on both databases."""

from __future__ import annotations

import pytest

from promptmill.simulator import SimulatorSettings, running_in_thread
from tests.api.openai.cases import CASES, expect, until
from tests.api.openai.conftest import line


@pytest.mark.parametrize("number", sorted(CASES))
async def test_the_case_is_answered_as_the_contract_has_it(open_dialect, number: int) -> None:
    scenario, settings = CASES[number]
    await scenario(await open_dialect(**settings))


def test_there_are_forty_cases() -> None:
    assert sorted(CASES) == list(range(1, 41))


async def test_a_model_nowhere_fails_by_itself_where_a_host_was_down_at_first(
    open_dialect, unused_port
) -> None:
    dialect = await open_dialect(ollama_host=f"http://127.0.0.1:{unused_port}")
    batch = await dialect.create(line("a", model="none"))
    batch = await until(dialect, batch, lambda now: now.status == "in_progress")

    with running_in_thread(SimulatorSettings(), port=unused_port):
        batch = await dialect.ended(batch)
        (error,) = await dialect.lines(batch.error_file_id)

    assert batch.status == "completed"
    assert error["response"]["status_code"] == 404
    assert error["response"]["body"]["error"]["code"] == "model_not_found"


async def test_an_unknown_query_parameter_is_refused_with_the_nearest_name(dialect) -> None:
    response = await dialect.http.get("batches", params={"limitt": 3})

    assert "'limit'" in expect(response, 400, "unknown_parameter", "limitt")["message"]
