"""`promptmill watch`, against a pretended service."""

from __future__ import annotations

import io

import httpx
import pytest
import respx
from rich.console import Console

from promptmill.cli.output.progress import show
from promptmill.client import Batch
from promptmill.contract.batches import Pull
from promptmill.display.progress import Lines
from tests.cli.pretended import Invoke, batch
from tests.documents import whole

LOST = httpx.ConnectError("refused")


def answers(service: respx.MockRouter, *given: object) -> None:
    service.get("/batches/batch_1").mock(
        side_effect=[
            httpx.Response(200, json=one) if isinstance(one, dict) else one for one in given
        ]
    )


def test_progress_goes_to_stderr_until_the_batch_has_ended(
    invoke: Invoke, service: respx.MockRouter
) -> None:
    running = batch("running", running=1, succeeded=1) | {"prompts_per_s": 0.8, "eta_s": 2.5}
    answers(service, batch("queued"), running, batch("completed", succeeded=2))

    result = invoke("watch", "batch_1")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.splitlines() == [
        "queued: 0/2",
        "running: 1/2, 0.8/s, 2.5 s left",
        "completed: 2/2",
        "batch_1 completed after 5.0 s: 2/2",
    ]


def pulling(**fields: object) -> dict[str, object]:
    one = {"model": "qwen3:8b", "host": "http://gpu:11434", "status": "pulling", **fields}
    return {**batch("queued"), "auto_pull": True, "pulls": [whole(Pull, one)]}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"completed_bytes": 41, "total_bytes": 100, "detail": "pulling ab"},
            "pulling qwen3:8b at http://gpu:11434: 41 %",
        ),
        (
            {"completed_bytes": 9, "total_bytes": 9, "detail": "verifying sha256 digest"},
            "pulling qwen3:8b at http://gpu:11434: verifying sha256 digest",
        ),
        ({}, "pulling qwen3:8b at http://gpu:11434"),
        ({"status": "waiting"}, "qwen3:8b waits to be pulled at http://gpu:11434"),
        ({"status": "waiting", "host": None}, "qwen3:8b waits for a host"),
    ],
)
def test_what_a_batch_waits_for_is_told(
    invoke: Invoke, service: respx.MockRouter, fields: dict[str, object], words: str
) -> None:
    done = batch("completed", succeeded=2)
    answers(service, pulling(**fields), done)

    result = invoke("watch", "batch_1")

    assert result.exit_code == 0
    assert result.stderr.splitlines()[:2] == [f"queued: 0/2, {words}", "completed: 2/2"]


def test_a_pull_that_failed_is_told_at_the_end(invoke: Invoke, service: respx.MockRouter) -> None:
    failed = pulling(status="failed", error="The pull failed: file does not exist")
    answers(service, batch("failed", failed=2) | {"pulls": failed["pulls"]})

    result = invoke("watch", "batch_1")

    assert "qwen3:8b at http://gpu:11434: The pull failed: file does not exist" in result.stderr


def test_a_pull_that_goes_on_is_told_of_every_few_seconds() -> None:
    now = 0.0
    console = Console(file=io.StringIO(), width=200)
    lines = Lines(console, lambda: now)
    for percent in range(12):
        shown = pulling(completed_bytes=percent, total_bytes=100)
        show(Batch.model_validate(shown), lines)
        now += 1.0

    told = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.rpartition(": ")[2] for line in told] == ["0 %", "5 %", "10 %"]


def test_failed_prompts_are_counted_and_the_way_to_them_is_shown(
    invoke: Invoke, service: respx.MockRouter
) -> None:
    answers(service, batch("completed", succeeded=1, failed=1) | {"error": "The host left."})

    result = invoke("watch", "batch_1")

    assert result.exit_code == 1
    assert "batch_1 completed after 5.0 s: 2/2, 1 failed" in result.stderr
    assert "The host left." in result.stderr
    assert "promptmill results batch_1 --status failed" in result.stderr


def test_a_restart_of_the_service_is_sat_out(invoke: Invoke, service: respx.MockRouter) -> None:
    answers(
        service,
        batch("running", running=2),
        *[LOST] * 4,
        batch("completed", succeeded=2),
    )

    result = invoke("watch", "batch_1")

    assert result.exit_code == 0
    assert result.stderr.count("Lost the service") == 1
    assert result.stderr.count("The service is back.") == 1


def test_a_service_that_stays_away_is_given_up(invoke: Invoke, service: respx.MockRouter) -> None:
    answers(service, batch("running", running=2), *[LOST] * 3)

    result = invoke("watch", "batch_1", "--reconnect-s", 0)

    assert result.exit_code == 3
    assert "cannot reach the service" in result.stderr


def test_ctrl_c_leaves_the_batch_running_and_says_so(
    invoke: Invoke, service: respx.MockRouter
) -> None:
    def interrupt(request: httpx.Request, route: respx.Route) -> httpx.Response:
        if route.call_count == 0:
            return httpx.Response(200, json=batch("running", running=2))
        raise KeyboardInterrupt

    service.get("/batches/batch_1").mock(side_effect=interrupt)

    result = invoke("watch", "batch_1")

    assert result.exit_code == 130
    assert "the batch goes on" in result.stderr
    assert not any(call.request.method != "GET" for call in service.calls)


def test_an_unknown_batch_is_a_refusal(invoke: Invoke, service: respx.MockRouter) -> None:
    answers(service, httpx.Response(404, json={"title": "Not found", "detail": "No batch_1."}))

    result = invoke("watch", "batch_1")

    assert (result.exit_code, result.stderr) == (
        2,
        "error: the service answered 404: No batch_1.\n",
    )


@pytest.mark.parametrize("seconds", ["-1", "soon"])
def test_a_patience_that_is_no_time_is_wrong_usage(invoke: Invoke, seconds: str) -> None:
    assert invoke("watch", "batch_1", "--reconnect-s", seconds).exit_code == 2
