"""`OllamaManager`: benchmarks, models, recommendations; its batches are in `test_batches.py`."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from promptmill.manager import OllamaManager
from promptmill.simulator import FaultRule, Speed, answer_text, running_in_thread
from tests.manager.pretended import ENDLESS, given_up, listening, pretended, until
from tests.ollama.raw_host import END, NDJSON, always, chunk, plain, raw_host

FIGURES = ["model", "latency", "tokens_per_sec", "prompt", "response", "num_runs", "error"]
SECOND = 1_000_000_000


@pytest.fixture
def down(unused_port):
    """A manager of a host that is not there."""
    return OllamaManager(f"http://127.0.0.1:{unused_port}")


@pytest.fixture
def manager():
    """A manager of a host with two models, of which a third can be pulled."""
    simulator = pretended("tiny", "qwen3:8b", pullable=("mistral:7b",))
    with running_in_thread(simulator) as url:
        yield OllamaManager(url)


def last_line(**fields) -> bytes:
    """An answer of this one line."""
    line = {"model": "tiny", "response": "yes", "done": True, "done_reason": "stop", **fields}
    return NDJSON + chunk(json.dumps(line).encode() + b"\n") + END


# --- Benchmarks -----------------------------------------------------------------------------------


async def test_a_benchmark_has_these_figures_for_each_model():
    async with listening("tiny", "small", speed=Speed(decode_tokens_per_s=2000)) as (url, server):
        figures = await OllamaManager(url).batch_benchmark(["small", "tiny"], prompt="Why?")
        assert server.stats()["prompts_by_number_of_calls"] == {"3": 2}
    assert list(figures) == ["small", "tiny"]
    for model, found in figures.items():
        assert list(found) == FIGURES
        assert (found["model"], found["prompt"]) == (model, "Why?")
        assert found["num_runs"] == 3
        assert found["response"] == answer_text(model, "Why?")
        assert found["error"] is None
        # Sleeping ends late and never early.
        assert 0 < found["tokens_per_sec"] < 2300
        assert found["latency"] > 14 / 2000


async def test_a_benchmark_sends_one_request_at_a_time_model_after_model():
    async with listening("tiny", "small", speed=Speed(request_s=0.02)) as (url, server):
        await OllamaManager(url).batch_benchmark(["tiny", "small"], num_runs=4)
        calls = [(call.model, call.prompt) for call in server.calls]
        peak = server.calls.tally.peak_in_flight
    assert calls == [
        (model, "Hello, how are you?") for model in ["tiny:latest"] * 4 + ["small:latest"] * 4
    ]
    assert peak == 1


@pytest.mark.proof
async def test_latency_is_the_mean_of_the_runs_by_the_callers_clock():
    runs = 0

    async def respond(exchange):
        nonlocal runs
        runs += 1
        await asyncio.sleep(0.3 if runs == 2 else 0)
        await exchange.send(last_line())

    async with raw_host(respond) as host:
        began = time.perf_counter()
        figures = await OllamaManager(host.url).batch_benchmark(["tiny"])
        took = time.perf_counter() - began
    # At least a third of the slow run, and no more than a third of all.
    assert 0.1 <= figures["tiny"]["latency"] <= took / 3


async def test_tokens_per_second_are_all_tokens_by_all_the_time_of_writing_them():
    runs = iter([(10, 1), (30, 1), (20, 4)])

    async def respond(exchange):
        count, seconds = next(runs)
        fields = {"eval_count": count, "eval_duration": seconds * SECOND}
        await exchange.send(last_line(response=f"{count} tokens", **fields))

    async with raw_host(respond) as host:
        figures = await OllamaManager(host.url).batch_benchmark(["tiny"])
    assert figures["tiny"]["tokens_per_sec"] == pytest.approx(10.0)
    assert figures["tiny"]["response"] == "20 tokens", "that of the last run"


@pytest.mark.parametrize(
    "counts",
    [{}, {"eval_count": 5}, {"eval_count": 1, "eval_duration": 7}, {"eval_duration": SECOND}],
)
async def test_without_a_measured_time_there_are_no_tokens_per_second(counts):
    async with raw_host(always(last_line(**counts))) as host:
        figures = await OllamaManager(host.url).batch_benchmark(["tiny"], num_runs=2)
    assert figures["tiny"]["tokens_per_sec"] is None
    assert figures["tiny"]["latency"] > 0
    assert figures["tiny"]["error"] is None


async def test_a_rate_that_no_machine_reaches_is_flagged_and_left_out():
    runs = iter([(32, 1000), (10, SECOND), (30, SECOND)])

    async def respond(exchange):
        count, duration = next(runs)
        await exchange.send(last_line(eval_count=count, eval_duration=duration))

    async with raw_host(respond) as host:
        figures = await OllamaManager(host.url).batch_benchmark(["tiny"])
    assert list(figures["tiny"]) == [*FIGURES, "flags"]
    assert figures["tiny"]["tokens_per_sec"] == pytest.approx(20.0)
    assert figures["tiny"]["flags"] == ["impossible_rate"]
    assert figures["tiny"]["error"] is None


async def test_a_benchmark_with_no_rate_but_impossible_ones_has_none():
    answer = last_line(eval_count=32, eval_duration=1000)
    async with raw_host(always(answer)) as host:
        found = await asyncio.to_thread(OllamaManager(host.url).benchmark_model, "tiny")
    assert (found["tokens_per_sec"], found["flags"]) == (None, ["impossible_rate"])
    assert found["latency"] > 0


async def test_answers_of_one_token_have_no_tokens_per_second():
    async with listening(speed=Speed(request_s=0.01)) as (url, _):
        figures = await OllamaManager(url).batch_benchmark(["tiny"], prompt="[[tokens:1]]")
    assert figures["tiny"]["tokens_per_sec"] is None
    assert figures["tiny"]["latency"] > 0.009


async def test_a_missing_model_has_an_error_and_no_figures_and_spoils_no_other():
    async with listening("tiny", "small") as (url, _):
        figures = await OllamaManager(url).batch_benchmark(["tiny", "absent", "small"], num_runs=2)
    absent = figures["absent"]
    assert "model 'absent' not found" in absent.pop("error")
    assert absent == {
        "model": "absent",
        "latency": None,
        "tokens_per_sec": None,
        "prompt": "Hello, how are you?",
        "response": None,
        "num_runs": 2,
    }
    for model in ("tiny", "small"):
        assert figures[model]["error"] is None
        assert figures[model]["response"] == answer_text(model, "Hello, how are you?")


async def test_runs_that_fail_are_told_and_leave_the_figures_of_the_others():
    first_fails = (FaultRule.parse("500 first=1"),)
    async with listening(faults=first_fails) as (url, _):
        figures = await OllamaManager(url).batch_benchmark(["tiny"])
    found = figures["tiny"]
    assert found["error"].startswith("1 of 3 runs failed")
    assert "answered 500" in found["error"]
    assert found["num_runs"] == 3
    assert found["latency"] > 0
    assert found["response"] == answer_text("tiny", "Hello, how are you?")


async def test_a_benchmark_of_no_models_is_empty_and_sends_nothing():
    async with listening() as (url, server):
        assert await OllamaManager(url).batch_benchmark([]) == {}
        assert server.stats()["paths"] == {}


async def test_a_benchmark_of_a_host_that_is_down_has_errors(down):
    figures = await down.batch_benchmark(["tiny", "small"], num_runs=1)
    assert list(figures) == ["tiny", "small"]
    assert all("No connection" in found["error"] for found in figures.values())


def test_the_benchmark_of_one_model_is_one_run_with_the_same_figures(manager):
    found = manager.benchmark_model("tiny", prompt="[[tokens:1]] Why?")
    assert list(found) == FIGURES
    assert found.pop("latency") > 0
    assert found == {
        "model": "tiny",
        "tokens_per_sec": None,
        "prompt": "[[tokens:1]] Why?",
        "response": answer_text("tiny", "[[tokens:1]] Why?"),
        "num_runs": 1,
        "error": None,
    }


@pytest.mark.parametrize("word", ["[[fault:500]]", "[[fault:cut]]", "[[fault:no_done]]"])
def test_the_benchmark_of_one_model_tells_its_failure(manager, word):
    found = manager.benchmark_model("tiny", prompt=word)
    assert found["error"]
    assert (found["latency"], found["tokens_per_sec"], found["response"]) == (None, None, None)


def test_the_benchmark_of_one_model_ends_with_the_timeout():
    with running_in_thread(pretended(speed=Speed(request_s=3.0))) as url:
        found = OllamaManager(url, timeout=0.2).benchmark_model("tiny")
    assert found["latency"] is None
    assert found["error"].startswith("Timeout: ")


# --- Plain functions ------------------------------------------------------------------------------


def test_no_plain_function_raises_because_the_host_is_down(down):
    assert down.check_ollama_running() is False
    assert down.list_models() == []
    assert down.get_running_models() == []
    assert down.get_model_info("tiny") == {}
    assert down.ensure_model_available("tiny") is False
    assert down.pull_model("tiny") is False
    found = down.benchmark_model("tiny")
    assert list(found) == FIGURES
    assert "No connection" in found["error"]
    assert found["latency"] is None


@pytest.mark.parametrize(
    "answer",
    [
        plain("502 Bad Gateway", b"<html><title>502</title></html>", "text/html"),
        plain("200 OK", b"Hello from another program", "text/plain"),
        plain("200 OK", b"[]"),
        plain("200 OK", b'{"other": 1}'),
        b"not even HTTP\r\n\r\n",
    ],
    ids=["proxy", "text", "list", "other object", "no HTTP"],
)
async def test_no_plain_function_raises_because_the_host_is_none_of_ollama(answer):
    async with raw_host(always(answer, close=True)) as host:
        strange = OllamaManager(host.url)
        assert await asyncio.to_thread(strange.check_ollama_running) is False
        assert await asyncio.to_thread(strange.list_models) == []
        assert await asyncio.to_thread(strange.get_running_models) == []
        assert await asyncio.to_thread(strange.pull_model, "tiny") is False
        assert await asyncio.to_thread(strange.ensure_model_available, "tiny") is False
        assert (await asyncio.to_thread(strange.benchmark_model, "tiny"))["error"]
        assert isinstance(await asyncio.to_thread(strange.get_model_info, "tiny"), dict)


def test_a_host_that_answers_is_running(manager):
    assert manager.check_ollama_running() is True


def test_the_installed_models_are_listed_by_name(manager):
    assert sorted(manager.list_models()) == ["qwen3:8b", "tiny:latest"]


def test_a_host_without_models_lists_none():
    with running_in_thread(simulator := pretended()) as url:
        manager = OllamaManager(url)
        for model in list(simulator.state.catalog):
            simulator.state.catalog.remove(model.name)
        assert manager.list_models() == []


def test_the_information_about_a_model_is_what_ollama_shows(manager):
    info = manager.get_model_info("QWEN3:8b")
    assert info["details"]["quantization_level"] == "Q4_K_M"
    assert "completion" in info["capabilities"]
    assert manager.get_model_info("absent") == {}


def test_a_pulled_model_is_listed_and_answers(manager):
    assert "mistral:7b" not in manager.list_models()
    assert manager.pull_model("mistral:7b") is True
    assert "mistral:7b" in manager.list_models()
    assert manager.benchmark_model("mistral:7b")["error"] is None


@pytest.mark.parametrize("name", ["unknown:7b", "no/such/model/name", ""])
def test_a_pull_of_what_is_no_model_is_false(manager, name):
    before = manager.list_models()
    assert manager.pull_model(name) is False
    assert manager.list_models() == before


def test_a_pull_that_breaks_off_is_false():
    rule = FaultRule.parse("pull_error first=1")
    with running_in_thread(pretended(pullable=("mistral:7b",), faults=(rule,))) as url:
        manager = OllamaManager(url)
        assert manager.pull_model("mistral:7b") is False
        assert manager.list_models() == ["tiny:latest"]
        assert manager.pull_model("mistral:7b") is True


@pytest.mark.parametrize("name", ["tiny", "tiny:latest", "Tiny", " library/tiny ", "qwen3:8B"])
def test_an_installed_model_is_available_by_any_spelling_and_not_pulled(name):
    with running_in_thread(simulator := pretended("tiny", "qwen3:8b")) as url:
        assert OllamaManager(url).ensure_model_available(name) is True
        assert "/api/pull" not in simulator.stats()["paths"]


def test_a_model_that_is_missing_is_pulled(manager):
    assert manager.ensure_model_available("mistral:7b") is True
    assert "mistral:7b" in manager.list_models()
    assert manager.ensure_model_available("mistral") is False, "another tag is another model"
    assert manager.ensure_model_available("unknown") is False


def test_a_model_is_among_the_running_ones_after_it_was_asked(manager):
    assert manager.get_running_models() == []
    manager.benchmark_model("tiny")
    (running,) = manager.get_running_models()
    assert running["name"] == "tiny:latest"
    assert "expires_at" in running


async def test_plain_functions_work_while_an_event_loop_runs():
    with running_in_thread(pretended(pullable=("mistral:7b",))) as url:
        manager = OllamaManager(url)
        assert manager.check_ollama_running() is True
        assert manager.list_models() == ["tiny:latest"]
        assert manager.get_model_info("tiny")["details"]
        assert manager.ensure_model_available("mistral:7b") is True
        assert manager.pull_model("tiny") is True
        assert manager.benchmark_model("tiny")["error"] is None
        assert [one["name"] for one in manager.get_running_models()] == ["tiny:latest"]


async def test_plain_functions_may_run_beside_a_batch():
    async with listening(speed=ENDLESS) as (url, server):
        manager = OllamaManager(url)
        batch = asyncio.create_task(manager.batch_generate(["p"], model="tiny"))
        await until(server, lambda tally: tally.models["tiny:latest"].in_slots == 1)
        assert await asyncio.to_thread(manager.check_ollama_running) is True
        (running,) = await asyncio.to_thread(manager.get_running_models)
        assert running["name"] == "tiny:latest"
        await given_up(batch)


# --- Recommendations ------------------------------------------------------------------------------

KINDS = ["fast", "balanced", "quality", "embeddings", "vision", "edge", "multilingual", "coding"]


@pytest.mark.parametrize("kind", KINDS)
def test_there_is_a_model_for_every_kind_of_work(kind, down):
    model = down.recommend_model(kind)
    assert model
    assert model == down.recommend_model(f" {kind.upper()}")


def test_the_recommendations_differ_and_the_one_by_default_is_that_of_a_batch(down):
    assert len({down.recommend_model(kind) for kind in KINDS}) == len(KINDS)
    assert down.recommend_model() == down.recommend_model("balanced") == "qwen3:8b"


@pytest.mark.parametrize("kind", ["", "cooking"])
def test_another_kind_of_work_is_refused_with_those_that_there_are(kind, down):
    with pytest.raises(ValueError, match=f"^there is no recommendation for '{kind}'") as raised:
        down.recommend_model(kind)
    assert all(known in str(raised.value) for known in KINDS)
