"""`promptmill list`, `show`, `cancel`, `delete` and `models`, against a pretended service."""

from __future__ import annotations

import json

import pytest
import respx

from promptmill.contract.batches import BatchPage
from promptmill.contract.reading import WaitingPromptPage
from promptmill.contract.service import ModelPage
from tests.cli.pretended import Invoke, batch
from tests.documents import whole


def test_batches_are_listed_with_what_matters(invoke: Invoke, service: respx.MockRouter) -> None:
    running = batch("running", succeeded=1, failed=1) | {"eta_s": 245.0}
    page = {"data": [running], "next_cursor": "c"}
    route = service.get("/batches").respond(200, json=page)

    result = invoke("list", "--status", "running", "--model", "tiny", "--limit", 1)

    assert result.exit_code == 0
    for text in ("batch_1", "running", "2/2", "4 min 05 s", "tiny"):
        assert text in result.stdout
    assert "--limit shows more" in result.stderr
    assert dict(route.calls.last.request.url.params) == {
        "limit": "1",
        "status": "running",
        "model": "tiny",
    }


def test_json_is_the_services_own(invoke: Invoke, service: respx.MockRouter) -> None:
    page = whole(BatchPage, {"data": [batch() | {"of_a_newer_service": 1}]})
    service.get("/batches").respond(200, json=page)

    listed = json.loads(invoke("list", "--json").stdout)

    assert listed["of_a_newer_service"] == 1
    assert listed["counts"] == page["data"][0]["counts"]
    assert listed.keys() == page["data"][0].keys()


def test_no_batches_are_said_in_words(invoke: Invoke, service: respx.MockRouter) -> None:
    service.get("/batches").respond(200, json={"data": [], "next_cursor": None})

    result = invoke("list")

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No batches.\n")


def test_one_batch_is_shown_in_full(invoke: Invoke, service: respx.MockRouter) -> None:
    document = batch("completed", succeeded=2) | {
        "metadata": {"run": "7"},
        "usage": {"prompt_tokens": 11, "completion_tokens": 20},
        "max_attempts": 3,
        "timeout_s": 300.0,
    }
    service.get("/batches/batch_1").respond(200, json=document)

    shown = invoke("show", "batch_1").stdout

    for text in (
        "completed",
        "2/2",
        "run=7",
        "11 read, 20 written",
        "5 at a time, a start each 0.1 s, 3 attempts, 5 min 00 s each",
    ):
        assert text in shown
    assert json.loads(invoke("show", "batch_1", "--json").stdout)["metadata"] == {"run": "7"}


def test_cancelling_says_what_became_of_the_batch(
    invoke: Invoke, service: respx.MockRouter
) -> None:
    service.post("/batches/batch_1/cancel").respond(202, json=batch("cancelling"))

    result = invoke("cancel", "batch_1")

    assert (result.exit_code, result.stderr) == (0, "batch_1 is cancelling.\n")


def test_deleting_a_running_batch_is_refused(invoke: Invoke, service: respx.MockRouter) -> None:
    problem = {"title": "Conflict", "detail": "batch_1 has not ended; cancel it first."}
    service.delete("/batches/batch_1").respond(409, json=problem)

    result = invoke("delete", "batch_1")

    assert result.exit_code == 2
    assert "cancel it first" in result.stderr


def test_deleting_an_ended_batch_is_said(invoke: Invoke, service: respx.MockRouter) -> None:
    service.delete("/batches/batch_1").respond(204)

    assert invoke("delete", "batch_1").stderr == "batch_1 is deleted.\n"


MODEL = {
    "name": "qwen3:8b",
    "size": 5_225_388_164,
    "parameter_size": "8.2B",
    "quantization_level": "Q4_K_M",
    "loaded_on": ["http://127.0.0.1:11434"],
    "recommended": {"max_concurrent": 5, "rate_limit_delay": 0.1},
}


def test_models_are_listed_with_limits_that_suit_them(
    invoke: Invoke, service: respx.MockRouter
) -> None:
    service.get("/models").respond(200, json=whole(ModelPage, {"data": [MODEL, {"name": "odd"}]}))

    shown = invoke("models").stdout

    for text in ("qwen3:8b", "5.2 GB", "8.2B", "Q4_K_M", "yes", "0.1", "odd"):
        assert text in shown
    assert json.loads(invoke("models", "--json").stdout.splitlines()[0]).items() >= MODEL.items()


def test_a_host_without_models_is_said_in_words(invoke: Invoke, service: respx.MockRouter) -> None:
    service.get("/models").respond(200, json={"data": [], "next_cursor": None})

    assert "ollama pull" in invoke("models").stderr


@pytest.mark.parametrize("command", ["show", "cancel", "delete", "watch", "results"])
def test_a_batch_must_be_named(invoke: Invoke, command: str) -> None:
    result = invoke(command)

    assert result.exit_code == 2
    assert "ID" in result.stderr


def test_what_runs_now_is_shown_with_its_host(invoke: Invoke, service: respx.MockRouter) -> None:
    prompt = {"index": 7, "prompt": "Why?", "state": "running", "attempts": 2, "host": "http://gpu"}
    service.get("/batches/batch_1/prompts").respond(
        200, json=whole(WaitingPromptPage, {"data": [prompt]})
    )

    result = invoke("show", "batch_1", "--running")

    assert all(word in result.stdout for word in ("7", "Why?", "http://gpu", "2"))


def test_what_a_batch_waits_for_is_shown_with_its_end(
    invoke: Invoke, service: respx.MockRouter
) -> None:
    waiting = {
        "reason": "usage_limit",
        "message": "you have reached your hourly usage limit",
        "until": "2026-11-23T07:30:00.000Z",
        "host": "http://gpu-1:11434",
    }
    service.get("/batches/batch_1").respond(200, json=batch("queued") | {"waiting_for": waiting})

    shown = invoke("show", "batch_1").stdout

    assert "you have reached your hourly usage limit; tried again at 2026-11-2" in shown


def test_a_list_shows_what_batches_wait_for_in_short(
    invoke: Invoke, service: respx.MockRouter
) -> None:
    waiting = {"reason": "paused", "message": "a [b]" + "x" * 300, "until": None, "host": None}
    page = {"data": [batch("paused") | {"waiting_for": waiting}, batch()], "next_cursor": None}
    service.get("/batches").respond(200, json=page)

    listed = invoke("list").stdout

    assert "waits" in listed
    assert "x…" in listed
