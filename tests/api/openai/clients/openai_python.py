"""OpenAI's library for Python: files, batches, models, chats and embeddings, sync and async."""

import asyncio
import contextlib
import io
import json
import sys
import time
from pathlib import Path

import openai
from openai.types.chat import ChatCompletion

CHAT = "/v1/chat/completions"
ENDS = ("completed", "failed", "expired", "cancelled")
SAID = [{"role": "user", "content": "Say one two three."}]


def request(custom_id: str, model: str = "tiny", **body: object) -> bytes:
    body = {"model": model, "messages": SAID, **body}
    line = {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body}
    return json.dumps(line).encode() + b"\n"


def until_ended(client: openai.OpenAI, batch):
    deadline = time.monotonic() + 60
    while batch.status not in ENDS:
        assert time.monotonic() < deadline, batch
        time.sleep(0.1)
        batch = client.batches.retrieve(batch.id)
    return batch


def lines_of(client: openai.OpenAI, file_id: str) -> dict:
    text = client.files.content(file_id).text
    return {line["custom_id"]: line for line in map(json.loads, text.splitlines())}


def files_and_batches(client: openai.OpenAI, folder: Path) -> None:
    path = folder / "requests.jsonl"
    names = [f"request-{number}" for number in range(50)]
    wrong = ["wrong-1", "wrong-2", "wrong-3"]
    path.write_bytes(
        b"".join([*map(request, names), *(request(name, logit_bias={"1": 5}) for name in wrong)])
    )

    uploaded = client.files.create(file=path, purpose="batch")
    begun = time.monotonic()
    client.files.wait_for_processing(uploaded.id)
    # The library's first pause between two looks is five seconds.
    assert time.monotonic() - begun < 5
    batch = client.batches.create(
        input_file_id=uploaded.id,
        endpoint=CHAT,
        completion_window="24h",
        metadata={"night": "1"},
    )
    batch = until_ended(client, batch)

    counts = batch.request_counts
    assert batch.status == "completed"
    assert (counts.total, counts.completed, counts.failed) == (53, 50, 3)
    output = lines_of(client, batch.output_file_id)
    assert list(output) == names
    for line in output.values():
        answer = ChatCompletion.model_validate(line["response"]["body"])
        assert answer.choices[0].message.content
    errors = lines_of(client, batch.error_file_id)
    assert list(errors) == wrong
    assert {line["response"]["status_code"] for line in errors.values()} == {400}

    with client.files.with_streaming_response.content(batch.output_file_id) as response:
        assert sum(1 for _ in response.iter_lines()) == 50
    for content in (request("a"), io.BytesIO(request("a"))):
        one = client.files.create(file=content, purpose="batch")
        assert one.status == "processed"
        assert client.files.retrieve(one.id).filename == "upload"
        assert one.id in [file.id for file in client.files.list(limit=1)]
        assert client.files.delete(one.id).deleted


def a_batch_that_is_cancelled(client: openai.OpenAI) -> None:
    lines = b"".join(request(str(number), model="slow") for number in range(20))
    uploaded = client.files.create(file=("slow.jsonl", lines), purpose="batch")
    batch = client.batches.create(
        input_file_id=uploaded.id,
        endpoint=CHAT,
        completion_window="24h",
        extra_body={"promptmill": {"max_concurrent": 1}},
    )
    assert client.batches.cancel(batch.id).status == "cancelling"
    batch = until_ended(client, batch)
    assert batch.status == "cancelled"
    assert batch.id in [one.id for one in client.batches.list(limit=1)]
    assert len({one.id for one in client.batches.list(limit=1)}) >= 2


def a_batch_of_a_wrong_file(client: openai.OpenAI) -> None:
    lines = request("twice") + request("twice")
    uploaded = client.files.create(file=("wrong.jsonl", lines), purpose="batch")
    batch = client.batches.create(input_file_id=uploaded.id, endpoint=CHAT, completion_window="24h")
    batch = until_ended(client, batch)
    assert batch.status == "failed"
    assert [(one.code, one.line) for one in batch.errors.data] == [("duplicate_custom_id", 2)]


def at_once(client: openai.OpenAI) -> None:
    assert "tiny:latest" in [model.id for model in client.models.list()]
    assert client.models.retrieve("tiny").object == "model"
    answer = client.chat.completions.create(model="tiny", messages=SAID, max_tokens=20)
    assert answer.choices[0].message.content
    stream = client.chat.completions.create(
        model="tiny", messages=SAID, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert chunks[-1].usage.total_tokens > 0
    said = client.completions.create(model="tiny", prompt="Once upon", max_tokens=5)
    assert said.choices[0].text
    # The library asks for base64 by itself, and is strict before it decodes it.
    for asking, form in ((client, {"encoding_format": "float"}), (openai.OpenAI(), {})):
        found = asking.embeddings.create(model="nomic-embed-text", input=["a", "b"], **form)
        assert [len(one.embedding) for one in found.data] == [16, 16]
    with contextlib.suppress(openai.NotFoundError):
        client.chat.completions.create(model="none", messages=SAID)
        raise AssertionError("a model that is not there answers")


async def without_blocking() -> None:
    async with openai.AsyncOpenAI(_strict_response_validation=True) as client:
        uploaded = await client.files.create(file=("a.jsonl", request("a")), purpose="batch")
        batch = await client.batches.create(
            input_file_id=uploaded.id, endpoint=CHAT, completion_window="24h"
        )
        while batch.status not in ENDS:
            await asyncio.sleep(0.1)
            batch = await client.batches.retrieve(batch.id)
        content = await client.files.content(batch.output_file_id)
        assert json.loads(content.text)["custom_id"] == "a"
        assert batch.id in [one.id async for one in client.batches.list(limit=1)]
        stream = await client.chat.completions.create(model="tiny", messages=SAID, stream=True)
        assert [chunk async for chunk in stream]


with openai.OpenAI(_strict_response_validation=True) as client:
    files_and_batches(client, Path(sys.argv[1]))
    a_batch_that_is_cancelled(client)
    a_batch_of_a_wrong_file(client)
    at_once(client)
asyncio.run(without_blocking())
