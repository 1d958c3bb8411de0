"""Embeddings by OpenAI's library: in batches and online, as numbers and in base64."""

from __future__ import annotations

import base64
import struct
from typing import Any

import openai
import pytest
from openai.types import CreateEmbeddingResponse

EMBEDDINGS = "/v1/embeddings"


def line(custom_id: str, given: object, **body: Any) -> dict[str, Any]:
    """A line of an input file."""
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": EMBEDDINGS,
        "body": {"model": "nomic-embed-text", "input": given, **body},
    }


async def test_a_batch_of_embeddings(dialect) -> None:
    batch, lines, errors = await dialect.done(
        *(line(f"t{n}", f"text number {n}") for n in range(100)), endpoint=EMBEDDINGS
    )
    assert (batch.status, batch.request_counts.completed, errors) == ("completed", 100, [])
    assert [one["custom_id"] for one in lines] == [f"t{n}" for n in range(100)]
    found = [CreateEmbeddingResponse.model_validate(one["response"]["body"]) for one in lines]
    assert {len(one.data[0].embedding) for one in found} == {16}
    assert len({tuple(one.data[0].embedding) for one in found}) == 100
    assert sum(one.usage.prompt_tokens for one in found) == batch.usage.input_tokens > 0


async def test_a_line_has_as_many_vectors_as_texts_in_the_form_that_it_asks_for(dialect) -> None:
    texts = ["a pear", "a quince", "a pear"]
    _, lines, _ = await dialect.done(
        line("numbers", texts),
        line("bytes", texts, encoding_format="base64"),
        line("few", texts, dimensions=4),
        endpoint=EMBEDDINGS,
    )
    numbers, packed, few = (one["response"]["body"]["data"] for one in lines)
    assert [one["index"] for one in numbers] == [0, 1, 2]
    vectors = [one["embedding"] for one in numbers]
    assert vectors[0] == vectors[2] != vectors[1]
    unpacked = [struct.unpack("<16f", base64.b64decode(one["embedding"])) for one in packed]
    assert unpacked == [struct.unpack("<16f", struct.pack("<16f", *one)) for one in vectors]
    assert {len(one["embedding"]) for one in few} == {4}


async def test_lines_that_cannot_be_embedded_are_lines_of_the_error_file(dialect) -> None:
    batch, lines, errors = await dialect.done(
        line("good", "a pear"),
        line("tokens", [1, 2, 3]),
        line("long", "word " * 100),
        line("also good", "a plum"),
        endpoint=EMBEDDINGS,
    )
    assert (batch.status, batch.request_counts.failed) == ("completed", 2)
    assert [one["custom_id"] for one in lines] == ["good", "also good"]
    told = {one["custom_id"]: one["response"] for one in errors}
    assert {name: one["status_code"] for name, one in told.items()} == {"tokens": 400, "long": 400}
    assert told["tokens"]["body"]["error"]["code"] == "unsupported_value"
    assert told["long"]["body"]["error"]["code"] == "context_length_exceeded"


async def test_a_line_without_input_is_the_end_of_its_batch(dialect) -> None:
    batch = await dialect.ended(await dialect.create(line("a", None), endpoint=EMBEDDINGS))
    assert batch.status == "failed"
    assert [(one.code, one.param) for one in batch.errors.data] == [
        ("invalid_request", "body.input")
    ]


@pytest.mark.parametrize("asked", [openai.NOT_GIVEN, "float", "base64"])
async def test_one_call_at_once(dialect, asked) -> None:
    """The library asks for base64 by itself, and decodes it."""
    # With strict validation the library does not take the base64 that it asks for.
    client = dialect.openai.copy(_extra_kwargs={"_strict_response_validation": False})
    found = await client.embeddings.create(
        model="nomic-embed-text", input=["a pear", "a plum"], encoding_format=asked
    )
    assert (found.object, found.model, len(found.data)) == ("list", "nomic-embed-text", 2)
    vectors = [one.embedding for one in found.data]
    if asked == "base64":
        vectors = [struct.unpack("<16f", base64.b64decode(one)) for one in vectors]
    assert {len(one) for one in vectors} == {16}
    assert sum(number * number for number in vectors[0]) == pytest.approx(1, abs=1e-5)
    assert found.usage.prompt_tokens == found.usage.total_tokens > 0


async def test_a_wrong_call_is_an_error_of_http(dialect) -> None:
    with pytest.raises(openai.BadRequestError) as refusal:
        await dialect.openai.embeddings.create(model="nomic-embed-text", input=[[1, 2, 3]])
    assert refusal.value.code == "unsupported_value"
    with pytest.raises(openai.NotFoundError):
        await dialect.openai.embeddings.create(model="missing", input="a pear")
    with pytest.raises(openai.BadRequestError) as refusal:
        await dialect.openai.embeddings.create(model="nomic-embed-text", input="word " * 100)
    assert refusal.value.code == "context_length_exceeded"
