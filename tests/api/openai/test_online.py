"""Chats and completions at once, by OpenAI's own library: through the slots, and before batches."""

from __future__ import annotations

import asyncio
import json
import time

import openai
import pytest
import sqlalchemy as sa

from promptmill.simulator import ModelSpec, SimulatorSettings, Speed, running_in_thread
from promptmill.store.db.tables.batches import host, job, job_stats, prompt, task
from tests.api.openai.cases import expect, until
from tests.api.openai.conftest import line

SAID = [{"role": "user", "content": "Why is the sky blue?"}]


async def left(dialect) -> list[int]:
    """Rows that online calls have left."""

    def count(tx) -> list[int]:
        tables = (job, job_stats, prompt, task)
        return [
            tx.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in tables
        ]

    return await dialect.resources.database.read(count)


async def test_a_chat_is_answered_and_leaves_nothing_stored(dialect) -> None:
    answer = await dialect.openai.chat.completions.create(model="tiny", messages=SAID, max_tokens=9)

    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 9
    assert await left(dialect) == [0, 0, 0, 0]


async def test_a_streamed_chat_says_the_same_in_pieces(dialect) -> None:
    whole = await dialect.openai.chat.completions.create(model="tiny", messages=SAID, seed=1)
    stream = await dialect.openai.chat.completions.create(
        model="tiny", messages=SAID, seed=1, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    assert len({(chunk.id, chunk.created) for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert (chunks[-1].choices, chunks[-1].usage) == ([], whole.usage)
    assert len(chunks) > 5
    assert await left(dialect) == [0, 0, 0, 0]


async def test_completions_are_answered_whole_and_in_pieces(dialect) -> None:
    asked = {"model": "tiny", "prompt": "Once", "max_tokens": 8, "seed": 1, "logprobs": 1}
    whole = await dialect.openai.completions.create(**asked)
    # The library's type knows no chunk without a reason to end; OpenAI itself sends null there.
    dialect.openai._strict_response_validation = False
    chunks = [
        chunk async for chunk in await dialect.openai.completions.create(**asked, stream=True)
    ]

    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    offsets = [
        offset
        for chunk in chunks
        if chunk.choices[0].logprobs
        for offset in chunk.choices[0].logprobs.text_offset
    ]
    assert offsets == whole.choices[0].logprobs.text_offset


async def test_tools_are_called_in_a_stream_with_an_index_each(dialect) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    stream = await dialect.openai.chat.completions.create(
        model="caller",
        messages=[{"role": "user", "content": "[[tool]]"}],
        tools=[tool],
        stream=True,
    )
    chunks = [chunk async for chunk in stream]

    (call,) = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    assert (call.index, call.function.name) == (0, "look")
    assert isinstance(json.loads(call.function.arguments), dict)
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


async def test_what_is_wrong_is_an_error_of_http_also_where_a_stream_was_asked_for(dialect) -> None:
    for stream in (False, True):
        body = {"model": "none", "messages": SAID, "stream": stream}
        response = await dialect.http.post("chat/completions", json=body)
        expect(response, 404, "model_not_found", "model")
        body = {"model": "tiny", "messages": SAID, "stream": stream, "n": 2}
        response = await dialect.http.post("chat/completions", json=body)
        expect(response, 400, "unsupported_value", "n")
        long = [{"role": "user", "content": "word " * 500}]
        body = {"model": "tiny", "messages": long, "stream": stream, "options": {"num_ctx": 64}}
        response = await dialect.http.post("chat/completions", json=body)
        expect(response, 400, "context_length_exceeded")


async def test_a_failure_in_mid_stream_is_raised_by_the_library(dialect) -> None:
    said = [{"role": "user", "content": "[[fault:error after=3]] Why?"}]
    stream = await dialect.openai.chat.completions.create(model="tiny", messages=said, stream=True)

    with pytest.raises(openai.APIError):
        async for _ in stream:
            pass


@pytest.mark.proof
async def test_a_call_that_waits_gets_the_next_slot_and_slots_are_never_exceeded(
    open_dialect, ollama_url
) -> None:
    dialect = await open_dialect(ollama_hosts=f"{ollama_url};slots=2")
    most = 0

    async def watch() -> None:
        nonlocal most
        begun = (
            sa.select(sa.func.count())
            .select_from(task)
            .where(task.c.state == "running", task.c.attempt > 0)
        )
        while True:
            running = await dialect.resources.database.read(
                lambda tx: tx.execute(begun).scalar_one()
            )
            most = max(most, running)
            await asyncio.sleep(0.005)

    batch = await dialect.create(
        *(line(str(n), model="slow", max_tokens=1) for n in range(12)),
        extra_body={"promptmill": {"max_concurrent": 8}},
    )
    batch = await until(dialect, batch, lambda now: now.request_counts.completed >= 1)
    watching = asyncio.create_task(watch())
    began = time.monotonic()
    await dialect.openai.chat.completions.create(model="tiny", messages=SAID, max_tokens=1)
    took_s = time.monotonic() - began
    now = await dialect.openai.batches.retrieve(batch.id)
    await dialect.ended(batch)
    watching.cancel()

    # A prompt of the batch takes 0.3 s, and the whole batch 1.8 s at least.
    assert took_s < 1.5
    assert now.request_counts.completed < 10
    assert most == 2


async def test_a_call_that_finds_too_many_waiting_is_told_to_come_again(
    open_dialect, ollama_url
) -> None:
    dialect = await open_dialect(ollama_hosts=f"{ollama_url};slots=1", online_queue=1, works=False)
    body = {"model": "slow", "messages": SAID, "max_tokens": 1}
    posts = [
        asyncio.create_task(dialect.http.post("chat/completions", json=body)) for _ in range(3)
    ]
    answers = [await post for post in posts]

    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) >= 1
    for answer in refused:
        expect(answer, 429, "rate_limit_exceeded")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert any(answer.status_code == 200 for answer in answers)


async def test_a_host_that_a_benchmark_has_takes_no_call(dialect) -> None:
    await dialect.openai.chat.completions.create(model="tiny", messages=SAID, max_tokens=1)

    await dialect.resources.database.write(lambda tx: tx.execute(sa.update(host).values(held_by=1)))

    response = await dialect.http.post("chat/completions", json={"model": "tiny", "messages": SAID})
    expect(response, 503, "service_unavailable")


async def test_a_client_that_leaves_frees_its_slot(open_dialect, ollama_url) -> None:
    settings = SimulatorSettings(models=(ModelSpec(name="stuck", speed=Speed(request_s=60)),))
    with running_in_thread(settings) as url:
        dialect = await open_dialect(ollama_hosts=f"{url};slots=1", works=False)
        asking = asyncio.create_task(
            dialect.http.post("chat/completions", json={"model": "stuck", "messages": SAID})
        )
        while (await left(dialect))[3] == 0:
            await asyncio.sleep(0.01)
        asking.cancel()
        async with asyncio.timeout(30):
            while await left(dialect) != [0, 0, 0, 0]:
                await asyncio.sleep(0.01)
