"""`batch_generate` and `batch_benchmark` of the client: `OllamaManager`'s calls, made durable."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from promptmill.client import AsyncPromptmill, Promptmill
from promptmill.manager import OllamaManager
from promptmill.simulator import answer_text

pytestmark = pytest.mark.proof

PROMPTS = [f"Name a lake with {n} letters." for n in range(8)]
PROGRAM = """
import sys
from promptmill import Promptmill
with Promptmill(sys.argv[1]) as client:
    client.batch_generate({prompts!r}, model="tiny", max_concurrent=2, rate_limit_delay=0)
"""


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`call(url, "batch_generate", ...)` by either client."""

    def by_sync(url: str, name: str, *args: Any, **fields: Any) -> Any:
        with Promptmill(url) as client:
            return getattr(client, name)(*args, **fields)

    def by_async(url: str, name: str, *args: Any, **fields: Any) -> Any:
        async def run() -> Any:
            async with AsyncPromptmill(url) as client:
                return await getattr(client, name)(*args, **fields)

        return asyncio.run(run())

    return by_sync if request.param == "sync" else by_async


def test_a_program_that_crashed_and_calls_again_goes_on_where_it_was(
    serve: Any, simulate: Any, call: Any
) -> None:
    ollama, simulator = simulate(request_s=0.3)
    service = serve(ollama)
    program = PROGRAM.format(prompts=PROMPTS)
    with subprocess.Popen([sys.executable, "-c", program, str(service.http.base_url)]) as crashed:
        asyncio.run(_some_calls(simulator, 3))
        crashed.kill()

    fields = {"model": "tiny", "max_concurrent": 2, "rate_limit_delay": 0}
    results = call(str(service.http.base_url), "batch_generate", PROMPTS, **fields)
    again = call(str(service.http.base_url), "batch_generate", PROMPTS, **fields)

    assert simulator.stats()["prompts_by_number_of_calls"] == {"1": 8}
    assert [result["response"] for result in results] == [answer_text("tiny", p) for p in PROMPTS]
    assert again == results
    in_process = asyncio.run(OllamaManager(ollama).batch_generate(PROMPTS[:1], model="tiny"))
    assert [list(result) for result in results] == [list(in_process[0])] * 8
    assert [result["prompt"] for result in results] == PROMPTS
    assert all(result["success"] and result["error"] is None for result in results)


async def _some_calls(simulator: Any, count: int) -> None:
    async with asyncio.timeout(30):
        while simulator.stats()["calls"] < count:
            await asyncio.sleep(0.02)


def test_other_arguments_or_another_key_make_another_batch(
    serve: Any, simulate: Any, call: Any
) -> None:
    ollama, simulator = simulate()
    url = str(serve(ollama).http.base_url)
    for fields in ({}, {"options": {"seed": 1}}, {"idempotency_key": "again"}, {}):
        call(url, "batch_generate", ["a"], model="tiny", rate_limit_delay=0, **fields)
    assert simulator.stats()["calls"] == 3


def test_what_failed_is_asked_again_and_what_has_an_answer_is_not(
    serve: Any, simulate: Any, call: Any
) -> None:
    ollama, simulator = simulate()
    url = str(serve(ollama).http.base_url)
    prompts = ["Name a lake.", "[[fault:500]] Name a river."]
    fields = {"model": "tiny", "rate_limit_delay": 0, "max_attempts": 1}

    first = call(url, "batch_generate", prompts, **fields)
    second = call(url, "batch_generate", prompts, **fields)

    assert [result["success"] for result in first] == [True, False]
    assert first[1]["response"] is None
    assert "500" in first[1]["error"]
    assert [result["success"] for result in second] == [True, False]
    assert simulator.stats()["prompts_by_number_of_calls"] == {"1": 1, "2": 1}


def test_a_benchmark_has_the_figures_of_the_class_and_is_measured_once(
    serve: Any, simulate: Any, call: Any
) -> None:
    ollama, simulator = simulate(request_s=0.01)
    url = str(serve(ollama).http.base_url)

    figures = call(url, "batch_benchmark", ["tiny", "absent"], prompt="Why?", num_runs=2)
    calls = simulator.stats()["calls"]
    again = call(url, "batch_benchmark", ["tiny", "absent"], prompt="Why?", num_runs=2)

    in_process = OllamaManager(ollama).benchmark_model("tiny", prompt="[[tokens:1]]")
    assert list(figures) == ["tiny", "absent"]
    assert all(list(found) == list(in_process) for found in figures.values())
    assert figures["tiny"]["latency"] > 0.009
    assert (figures["tiny"]["num_runs"], figures["tiny"]["error"]) == (2, None)
    assert figures["absent"]["latency"] is None
    assert "absent" in figures["absent"]["error"]
    assert (again, simulator.stats()["calls"] - 1) == (figures, calls)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"prompts": "one"}, TypeError, "prompts must be a list"),
        ({"prompts": ["a", 3]}, TypeError, r"prompts\[1\] must be a string or an object, not int"),
        ({"prompts": ["a", " "]}, ValueError, r"prompts\[1\] must be a string that is not empty"),
        ({"temperature": 0}, TypeError, r"temperature is not a field .* options=\{…\}"),
        ({"options": {"seed": float("nan")}}, ValueError, "seed is NaN"),
    ],
)
def test_a_mistake_in_the_call_names_its_argument_and_sends_nothing(
    call: Any, unused_port: int, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(f"http://127.0.0.1:{unused_port}", "batch_generate", **{"prompts": ["a"], **arguments})


def test_nothing_to_ask_is_no_batch(call: Any, unused_port: int) -> None:
    url = f"http://127.0.0.1:{unused_port}"
    assert call(url, "batch_generate", []) == []
    assert call(url, "batch_benchmark", []) == {}
