"""OpenAI's own library, unmodified, against the service: files and batches from end to end."""

from __future__ import annotations

from openai.types.chat import ChatCompletion

from tests.api.openai.conftest import CHAT, jsonl, line


async def test_a_batch_of_chats_comes_back_as_openais_library_wants_it(dialect, tmp_path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_bytes(jsonl(*(line(f"request-{n}", f"Question {n}?") for n in range(50))))

    uploaded = await dialect.openai.files.create(file=path, purpose="batch")
    await dialect.openai.files.wait_for_processing(uploaded.id, max_wait_seconds=1)
    batch = await dialect.openai.batches.create(
        input_file_id=uploaded.id,
        endpoint=CHAT,
        completion_window="24h",
        metadata={"run": "7"},
    )
    assert batch.status == "validating"
    batch = await dialect.ended(batch)

    assert batch.status == "completed"
    assert batch.request_counts.model_dump() == {"total": 50, "completed": 50, "failed": 0}
    assert (batch.metadata, batch.model, batch.errors) == ({"run": "7"}, "tiny", None)
    assert batch.error_file_id is None
    lines = await dialect.lines(batch.output_file_id)
    assert [one["custom_id"] for one in lines] == [f"request-{n}" for n in range(50)]
    for one in lines:
        answer = ChatCompletion.model_validate(one["response"]["body"], strict=True)
        assert answer.choices[0].message.content
        assert answer.usage.total_tokens > 0
        assert one["error"] is None
    assert batch.usage.total_tokens == sum(
        one["response"]["body"]["usage"]["total_tokens"] for one in lines
    )
