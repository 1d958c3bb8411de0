"""`promptmill pause`, `resume`, `retry` and `set`, against a pretended service."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import respx

from tests.cli.pretended import Invoke, batch


def body_of(route: respx.Route) -> Any:
    content = route.calls.last.request.content
    return json.loads(content) if content else None


def test_pausing_says_what_still_runs_and_how_to_go_on(
    invoke: Invoke, service: respx.MockRouter
) -> None:
    service.post("/batches/batch_1/pause").respond(202, json=batch("paused", running=2, pending=1))

    result = invoke("pause", "batch_1")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.splitlines() == [
        "batch_1 is paused; 2 still run.",
        "  promptmill resume batch_1   lets it go on",
    ]


def test_resuming_says_how_the_batch_stands(invoke: Invoke, service: respx.MockRouter) -> None:
    service.post("/batches/batch_1/resume").respond(202, json=batch("running"))

    result = invoke("resume", "batch_1")

    assert (result.exit_code, result.stderr) == (0, "batch_1 is running.\n")


def test_a_batch_that_cannot_be_paused_is_a_refusal(
    invoke: Invoke, service: respx.MockRouter
) -> None:
    problem = {"title": "Conflict", "detail": "The batch is completed and cannot be paused."}
    service.post("/batches/batch_1/pause").respond(409, json=problem)

    result = invoke("pause", "batch_1")

    assert result.exit_code == 2
    assert "cannot be paused" in result.stderr


@pytest.mark.parametrize(
    ("options", "body"),
    [
        ([], None),
        (["--index", 0, "--index", 5], {"indexes": [0, 5]}),
        (["--expires-in-s", 60], {"expires_in_s": 60.0}),
    ],
)
def test_a_retry_runs_all_again_or_what_was_chosen(
    invoke: Invoke, service: respx.MockRouter, options: list[object], body: object
) -> None:
    route = service.post("/batches/batch_1/retry")
    route.respond(202, json=batch("running", pending=1, succeeded=1))

    result = invoke("retry", "batch_1", *options)

    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "batch_1 is running: 1/2",
        "  promptmill watch batch_1   shows how it goes on",
    ]
    assert body_of(route) == body


def test_an_index_that_cannot_run_again_is_named(invoke: Invoke, service: respx.MockRouter) -> None:
    entry = {"pointer": "/indexes/0", "detail": "the batch has prompts 0 to 1"}
    problem = {"title": "Invalid", "detail": "None was queued.", "errors": [entry]}
    service.post("/batches/batch_1/retry").respond(422, json=problem)

    result = invoke("retry", "batch_1", "--index", 7)

    assert result.exit_code == 2
    assert "/indexes/0: the batch has prompts 0 to 1" in result.stderr


def test_only_what_was_given_is_changed_and_told(invoke: Invoke, service: respx.MockRouter) -> None:
    route = service.patch("/batches/batch_1")
    route.respond(
        200,
        json=batch("running")
        | {
            "max_concurrent": 9,
            "rate_limit_delay": 0.0,
            "priority": -3,
            "metadata": {"run": "8", "note": "a=b"},
        },
    )

    one = invoke("set", "batch_1", "--max-concurrent", 9)
    body_of_one = body_of(route)
    every = invoke(
        *("set", "batch_1", "--max-concurrent", 9, "--rate-limit-delay", 0, "--priority", -3),
        *("--metadata", "run=8", "--metadata", "note=a=b"),
    )

    assert (one.exit_code, one.stderr) == (0, "batch_1: 9 at a time\n")
    assert body_of_one == {"max_concurrent": 9}
    assert every.stderr == ("batch_1: 9 at a time, no delay, priority -3, run=8, note=a=b\n")
    assert body_of(route) == {
        "max_concurrent": 9,
        "rate_limit_delay": 0.0,
        "priority": -3,
        "metadata": {"run": "8", "note": "a=b"},
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["set", "batch_1"], "nothing to change"),
        (["set", "batch_1", "--metadata", "run"], "NAME=VALUE"),
        (["set", "batch_1", "--priority", "high"], "--priority"),
        (["retry", "batch_1", "--index", "-1"], "--index"),
        (["retry", "batch_1", "--index", "first"], "--index"),
        (["pause"], "ID"),
        (["resume"], "ID"),
        (["retry"], "ID"),
        (["set"], "ID"),
    ],
)
def test_wrong_usage_asks_nothing_of_the_service(
    invoke: Invoke, service: respx.MockRouter, arguments: list[str], said: str
) -> None:
    result = invoke(*arguments)

    assert result.exit_code == 2
    assert said in result.stderr
    assert not service.calls


@pytest.mark.parametrize(
    ("limit", "sent"), [("25", 25), ("20%", "20%"), ("0.5%", "0.5%"), ("many", "many")]
)
def test_a_submission_may_have_a_deadline_and_a_limit_of_failures(
    invoke: Invoke, service: respx.MockRouter, limit: str, sent: object
) -> None:
    route = service.post("/batches").respond(202, json=batch())

    invoke("submit", "a", "--expires-in-s", 3600, "--max-failures", limit)

    assert body_of(route) == {"prompts": ["a"], "expires_in_s": 3600.0, "max_failures": sent}


def test_a_submission_may_say_which_defects_fail_a_prompt(
    invoke: Invoke, service: respx.MockRouter
) -> None:
    route = service.post("/batches").respond(202, json=batch())

    invoke("submit", "a", "--fail-on", "truncated", "--fail-on", "empty")

    assert body_of(route) == {"prompts": ["a"], "fail_on": ["truncated", "empty"]}


def test_a_batch_is_shown_with_its_deadline_and_its_limit_of_failures(
    invoke: Invoke, service: respx.MockRouter
) -> None:
    document = batch("paused") | {"expires_at": "2026-11-24T06:30:00Z", "max_failures": "20%"}
    service.get("/batches/batch_1").respond(200, json=document)

    shown = invoke("show", "batch_1").stdout

    assert "paused" in shown
    assert "at most 20% failed" in shown
    assert "expires" in shown
    assert "2026-11-2" in shown


def test_expired_results_can_be_asked_for(invoke: Invoke, service: respx.MockRouter) -> None:
    service.get("/batches/batch_1").respond(200, json=batch("expired", expired=1))
    route = service.get("/batches/batch_1/results").respond(200, text="")

    result = invoke("results", "batch_1", "--status", "expired", "--format", "jsonl")

    assert result.exit_code == 0
    assert route.calls.last.request.url.params["status"] == "expired"


def test_watching_a_paused_batch_says_so_once_and_how_to_go_on(
    invoke: Invoke, service: respx.MockRouter
) -> None:
    seen = [
        *(batch("running", running=2), batch("paused", running=1, succeeded=1)),
        *(batch("paused", pending=1, succeeded=1), batch("running", running=1, succeeded=1)),
        *(batch("paused", pending=1, succeeded=1), batch("completed", succeeded=2)),
    ]
    service.get("/batches/batch_1").mock(
        side_effect=[httpx.Response(200, json=one) for one in seen]
    )

    result = invoke("watch", "batch_1")

    assert result.exit_code == 0
    assert result.stderr.count("The batch is paused; `promptmill resume batch_1`") == 2
    assert "paused: 1/2" in result.stderr


def test_an_expired_batch_has_failed_for_whoever_watches_and_can_be_retried(
    invoke: Invoke, service: respx.MockRouter
) -> None:
    document = batch("expired", succeeded=1, expired=1) | {"error": "The time ran out."}
    service.get("/batches/batch_1").respond(200, json=document)

    result = invoke("watch", "batch_1")

    assert result.exit_code == 1
    assert "batch_1 expired after 5.0 s: 2/2, 1 expired" in result.stderr
    assert "The time ran out." in result.stderr
    assert "promptmill retry batch_1   runs again what has no answer" in result.stderr


# --- against a real service ------------------------------------------------------------------


@pytest.mark.proof
def test_a_batch_is_paused_changed_and_resumed_by_commands(
    invoke: Invoke, service_url: str
) -> None:
    url = ("--url", service_url)
    # Without the change below, a minute would pass between two starts.
    slow = ("--max-concurrent", 1, "--rate-limit-delay", 60)
    batch_id = invoke("submit", "a", "b", "c", *slow, *url).stdout.strip()

    paused = invoke("pause", batch_id, *url)
    listed = json.loads(invoke("list", "--status", "paused", "--json", *url).stdout)
    changed = invoke("set", batch_id, "--rate-limit-delay", 0, "--metadata", "run=8", *url)
    resumed = invoke("resume", batch_id, *url)
    watched = invoke("watch", batch_id, *url)
    shown = json.loads(invoke("show", batch_id, "--json", *url).stdout)
    too_late = invoke("pause", batch_id, *url)

    assert [one.exit_code for one in (paused, changed, resumed, watched)] == [0] * 4
    assert f"{batch_id} is paused" in paused.stderr
    assert listed["id"] == batch_id
    assert (shown["status"], shown["metadata"]) == ("completed", {"run": "8"})
    assert (too_late.exit_code, "completed" in too_late.stderr) == (2, True)


@pytest.mark.proof
def test_what_expired_is_shown_and_run_again_by_commands(invoke: Invoke, service_url: str) -> None:
    url = ("--url", service_url)
    limits = ("--rate-limit-delay", 60, "--expires-in-s", 0.2, "--max-failures", "0.5%")
    batch_id = invoke("submit", "a", "b", "c", *limits, *url).stdout.strip()

    watched = invoke("watch", batch_id, *url)
    results = ("results", batch_id, "--status", "expired", "--format", "jsonl")
    expired = [json.loads(line) for line in invoke(*results, *url).stdout.splitlines()]
    invoke("set", batch_id, "--rate-limit-delay", 0, *url)
    invoke("retry", batch_id, "--index", expired[-1]["index"], *url)
    chosen = invoke("watch", batch_id, *url)
    again = invoke("retry", batch_id, *url)
    ended = invoke("watch", batch_id, *url)
    shown = json.loads(invoke("show", batch_id, "--json", *url).stdout)

    assert watched.exit_code == 1
    assert f"promptmill retry {batch_id}" in watched.stderr
    assert {one["error_code"] for one in expired} == {"expired"}
    assert expired[-1]["index"] == 2
    # As long as another of its prompts is expired, so is the batch.
    assert (chosen.exit_code, "expired" in chosen.stderr) == (1, True)
    assert (again.exit_code, ended.exit_code) == (0, 0)
    assert (shown["status"], shown["counts"]["succeeded"]) == ("completed", 3)
    assert (shown["expires_at"], shown["max_failures"]) == (None, "0.5%")


def test_auto_can_be_set_and_is_told(invoke: Invoke, service: respx.MockRouter) -> None:
    changed = {**batch("running"), "max_concurrent": 9, "auto_concurrency": True}
    sent = service.patch("/batches/batch_1").respond(200, json=changed)

    result = invoke("set", "batch_1", "--max-concurrent", "auto")

    assert (result.exit_code, result.stderr) == (0, "batch_1: 9 at a time (auto)\n")
    assert json.loads(sent.calls[0].request.content) == {"max_concurrent": "auto"}


def test_what_is_neither_a_number_nor_auto_is_refused_in_words(invoke: Invoke) -> None:
    result = invoke("set", "batch_1", "--max-concurrent", "many")

    assert result.exit_code == 2
    assert "takes a whole number or auto, not 'many'" in " ".join(result.stderr.split())
