"""What `submit` takes beyond the API: schemas in short, and submitting once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.client.test_clients import batch
from tests.client.test_uploads import DRY, Service

Clients = Callable[..., Any]


def accepting(times: int) -> Service:
    return Service(*(httpx.Response(202, json=batch("queued")) for _ in range(times)))


async def test_a_schema_in_short_becomes_the_format(client_of: Clients) -> None:
    service = Service(
        httpx.Response(202, json=batch("queued")),
        httpx.Response(202, json=batch("queued")),
        httpx.Response(200, json=DRY),
    )
    client = client_of(service)

    await client.submit(["a"], schema="name, age int")
    await client.submit_stream(["a"], schema="name, age int")
    await client.dry_run(["a"], schema="name, age int")

    wanted = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
    }
    whole, *by_line = service.requests
    assert json.loads(whole.content) == {"prompts": ["a"], "format": wanted}
    assert [json.loads(one.url.params["format"]) for one in by_line] == [wanted, wanted]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"schema": "age integer"}, "age integer"),
        ({"schema": "name", "format": "json"}, "either schema or format"),
        ({"once": True, "idempotency_key": "k"}, "either once or an idempotency_key"),
    ],
)
async def test_arguments_that_contradict_each_other_send_nothing(
    client_of: Clients, fields: dict[str, Any], said: str
) -> None:
    service = Service()

    with pytest.raises(ValueError, match=said):
        await client_of(service).submit(["a"], **fields)
    assert service.requests == []


async def test_once_gives_the_same_key_for_the_same_prompts_and_fields_only(
    client_of: Clients,
) -> None:
    service = accepting(7)
    client = client_of(service)
    prompts = [f"prompt {number}" for number in range(500)]

    await client.submit(prompts, once=True, model="tiny", options={"seed": 1})
    await client.submit(prompts, once=True, options={"seed": 1}, model="tiny")
    await client.submit_stream(prompts, once=True, model="tiny", options={"seed": 1})
    await client.submit(prompts[:-1], once=True, model="tiny", options={"seed": 1})
    await client.submit(prompts, once=True, model="tiny", options={"seed": 2})
    await client.submit(prompts, once=True, model="other", options={"seed": 1})
    await client.submit(prompts, model="tiny", options={"seed": 1})

    keys = [request.headers["idempotency-key"] for request in service.requests]
    assert keys[0] == keys[1] == keys[2]
    assert len(set(keys)) == 5
    # The service compares the bodies of one key: all of them have the same form.
    assert len({request.content for request in service.requests[:3]}) == 1


async def test_once_needs_prompts_that_can_be_read_twice(client_of: Clients) -> None:
    with pytest.raises(ValueError, match="read twice"):
        await client_of(accepting(1)).submit(iter(["a"]), once=True)


async def test_a_batch_that_was_there_already_says_so(client_of: Clients) -> None:
    service = Service(
        httpx.Response(202, json=batch("queued")),
        httpx.Response(202, json=batch("completed"), headers={"Idempotent-Replayed": "true"}),
    )
    client = client_of(service)

    first = await client.submit(["a"], once=True)
    second = await client.submit(["a"], once=True)

    assert (first.is_replay, second.is_replay) == (False, True)
