"""Prompts sent line by line, while they are made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from promptmill.client import DryRun, PromptmillProblem, ServiceUnreachable
from promptmill.client.requests.uploads import Lines
from tests.client.test_clients import batch
from tests.documents import whole

Clients = Callable[..., Any]
DRY = whole(
    DryRun,
    {
        "object": "batch.dry_run",
        "valid": True,
        "prompts": 2,
        "models": ["tiny:latest"],
        "model": "tiny",
        "max_concurrent": 5,
        "rate_limit_delay": 0.1,
        "at_least_s": 0.1,
    },
)


def accept(request: httpx.Request) -> httpx.Response:
    return httpx.Response(202, json=batch("queued"))


class Service:
    """Answers with what it is given, one after the other, and keeps what was sent."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_prompts_go_as_lines_and_the_fields_as_parameters(client_of: Clients) -> None:
    service = Service(httpx.Response(202, json=batch("queued")))

    submitted = await client_of(service).submit_stream(
        iter(["Où?\n", {"prompt": "b", "id": "x"}]),
        idempotency_key="k1",
        model="tiny",
        system='"quoted"',
        max_concurrent=3,
        rate_limit_delay=0.5,
        think="low",
        options={"stop": ["\n"]},
        metadata={"run": "7"},
    )

    assert submitted.id == "batch_1"
    (request,) = service.requests
    assert request.content == '"Où?\\n"\n{"prompt":"b","id":"x"}\n'.encode()
    assert request.headers["content-type"] == "application/x-ndjson"
    assert request.headers["transfer-encoding"] == "chunked"
    assert request.headers["idempotency-key"] == "k1"
    assert dict(request.url.params) == {
        "model": "tiny",
        "system": '"quoted"',
        "max_concurrent": "3",
        "rate_limit_delay": "0.5",
        "think": '"low"',
        "options": '{"stop":["\\n"]}',
        "metadata": '{"run":"7"}',
    }


def test_prompts_are_made_while_they_are_sent() -> None:
    made = 0

    def prompts() -> Iterator[str]:
        nonlocal made
        for number in range(100_000):
            made += 1
            yield str(number)

    blocks = iter(Lines(prompts()))
    next(blocks)

    assert made < 1_000
    assert sum(block.count(b"\n") for block in blocks) + 200 == 100_000


async def test_a_list_is_sent_again_after_a_lost_answer_with_the_same_key(
    client_of: Clients,
) -> None:
    service = Service(httpx.ReadError("cut"), httpx.Response(202, json=batch("queued")))

    await client_of(service).submit_stream(["a", "b"])

    first, second = service.requests
    assert first.content == second.content == b'"a"\n"b"\n'
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda: httpx.ReadError("cut"), ServiceUnreachable),
        (lambda: httpx.Response(429, json={"title": "A limit is reached"}), PromptmillProblem),
    ],
)
async def test_an_iterator_is_never_sent_half_used(
    client_of: Clients, answer: Callable[[], Any], error: type[Exception]
) -> None:
    service = Service(answer())

    with pytest.raises(error):
        await client_of(service).submit_stream(iter(["a", "b"]))

    assert len(service.requests) == 1


async def test_what_json_cannot_say_ends_the_sending(client_of: Clients) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        await client_of(accept).submit_stream(["a", {"prompt": "b", "top_p": float("nan")}])


async def test_a_single_text_is_not_taken_for_letters(client_of: Clients) -> None:
    for method in ("submit_stream", "dry_run"):
        with pytest.raises(TypeError, match="list of prompts, not a single one"):
            await getattr(client_of(accept), method)("Why?")


async def test_a_dry_run_tells_what_the_batch_would_be(client_of: Clients) -> None:
    service = Service(httpx.Response(200, json=DRY))

    told = await client_of(service).dry_run(["a", "b"], model="tiny")

    assert (told.prompts, told.models, told.at_least_s) == (2, ("tiny:latest",), 0.1)
    (request,) = service.requests
    assert dict(request.url.params) == {"dry_run": "true", "model": "tiny"}
    assert [json.loads(line) for line in request.content.splitlines()] == ["a", "b"]


async def test_a_dry_run_raises_what_the_service_would_refuse(client_of: Clients) -> None:
    errors = [{"pointer": "/prompts/1", "detail": "line 2: must not be empty"}]
    service = Service(httpx.Response(422, json={"title": "Invalid", "errors": errors}))

    with pytest.raises(PromptmillProblem) as caught:
        await client_of(service).dry_run(["a", ""])

    assert caught.value.errors[0].pointer == "/prompts/1"
