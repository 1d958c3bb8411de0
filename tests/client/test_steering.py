"""Pausing, resuming, changing and retrying through the client library."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from promptmill.client import PromptmillProblem, ServiceUnreachable
from promptmill.client.requests.steering import pause_batch, resume_batch, retry_batch
from promptmill.contract.batches import Batch
from tests.documents import whole

Clients = Callable[..., Any]


def batch(**fields: Any) -> dict[str, Any]:
    return whole(
        Batch,
        {
            "id": "batch_1",
            "status": "running",
            "model": "tiny",
            "counts": {"total": 2, "pending": 2},
            "progress": 0.0,
            "created_at": "2026-11-23T06:30:00.123Z",
            **fields,
        },
    )


class Remembering:
    """A service that keeps what it was asked."""

    def __init__(self, **fields: Any) -> None:
        self.asked: list[httpx.Request] = []
        self._batch = batch(**fields)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return httpx.Response(200 if request.method == "PATCH" else 202, json=self._batch)

    @property
    def last(self) -> tuple[str, str, Any]:
        request = self.asked[-1]
        body = json.loads(request.content) if request.content else None
        return request.method, request.url.path, body


async def test_a_batch_is_paused_and_resumed(client_of: Clients) -> None:
    service = Remembering(status="paused")
    client = client_of(service)

    paused = await client.pause("batch_1")
    first = service.last
    await client.resume("batch_1")

    assert first == ("POST", "/batches/batch_1/pause", None)
    assert service.last == ("POST", "/batches/batch_1/resume", None)
    assert (paused.status, paused.has_ended) == ("paused", False)


async def test_a_retry_says_only_what_it_was_told(client_of: Clients) -> None:
    service = Remembering()
    client = client_of(service)

    await client.retry("batch_1")
    everything = service.last
    assert "content-type" not in service.asked[-1].headers
    await client.retry("batch_1", indexes=range(3), expires_in_s=60)
    chosen = service.last
    await client.retry("batch_1", indexes=[])

    assert everything == ("POST", "/batches/batch_1/retry", None)
    assert chosen == (
        "POST",
        "/batches/batch_1/retry",
        {"indexes": [0, 1, 2], "expires_in_s": 60},
    )
    # No prompt is not the same as all of them; the service refuses it.
    assert service.last[2] == {"indexes": []}


async def test_a_change_names_what_is_to_change(client_of: Clients) -> None:
    service = Remembering(max_concurrent=9, max_failures="20%")

    changed = await client_of(service).update(
        "batch_1", max_concurrent=9, rate_limit_delay=0, priority=-1, metadata={"é": "1"}
    )

    assert service.last == (
        "PATCH",
        "/batches/batch_1",
        {"max_concurrent": 9, "rate_limit_delay": 0, "priority": -1, "metadata": {"é": "1"}},
    )
    assert service.asked[-1].headers["content-type"] == "application/json"
    assert (changed.max_concurrent, changed.max_failures) == (9, "20%")


async def test_a_change_of_nothing_is_refused_before_sending(client_of: Clients) -> None:
    service = Remembering()

    with pytest.raises(ValueError, match="nothing to change"):
        await client_of(service).update("batch_1")

    assert service.asked == []


async def test_a_refusal_names_the_index(client_of: Clients) -> None:
    def service(request: httpx.Request) -> httpx.Response:
        entry = {"pointer": "/indexes/1", "detail": "the batch has prompts 0 to 2"}
        return httpx.Response(422, json={"title": "Invalid", "errors": [entry]})

    with pytest.raises(PromptmillProblem) as caught:
        await client_of(service).retry("batch_1", indexes=[0, 9])

    assert [error.pointer for error in caught.value.errors] == ["/indexes/1"]


async def test_a_deadline_and_a_limit_of_failures_are_sent_and_read(client_of: Clients) -> None:
    service = Remembering(max_failures=3, expires_at="2026-11-23T06:31:00.123Z")

    submitted = await client_of(service).submit(["a"], expires_in_s=60, max_failures="0.5%")

    assert service.last[2] == {"prompts": ["a"], "expires_in_s": 60, "max_failures": "0.5%"}
    assert (submitted.max_failures, submitted.expires_at.minute) == (3, 31)


Ask = Callable[[Any], Any]


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.pause("batch_1"),
        lambda client: client.resume("batch_1"),
        lambda client: client.update("batch_1", priority=1),
    ],
    ids=["pause", "resume", "update"],
)
async def test_what_changes_nothing_the_second_time_is_asked_again_after_a_lost_answer(
    client_of: Clients, ask: Ask
) -> None:
    service = LosingTheFirstAnswer()

    assert (await ask(client_of(service))).id == "batch_1"
    assert service.asked == 2


async def test_a_retry_whose_answer_was_lost_is_not_sent_again(client_of: Clients) -> None:
    service = LosingTheFirstAnswer()

    with pytest.raises(ServiceUnreachable):
        await client_of(service).retry("batch_1")

    assert service.asked == 1


class LosingTheFirstAnswer:
    """A service whose first answer does not arrive."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.asked == 1:
            raise httpx.ReadError("cut", request=request)
        return httpx.Response(200 if request.method == "PATCH" else 202, json=batch())


@pytest.mark.parametrize("request_", [pause_batch, resume_batch, retry_batch])
def test_an_id_cannot_leave_its_place_in_the_path(request_: Callable[[str], Any]) -> None:
    assert request_("../x?y=/").path.startswith("/batches/..%2Fx%3Fy%3D%2F/")
