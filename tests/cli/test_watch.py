"""`promptmill watch`, against a pretended service."""

from __future__ import annotations

import httpx
import pytest
import respx

from tests.cli.pretended import Invoke, batch

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
