"""LiteLLM as a library: files, batches, chats and embeddings of the provider `openai`."""

import json
import os
import time

import litellm
from litellm.types.utils import LiteLLMBatch

CHAT = "/v1/chat/completions"
WHERE = {"api_base": os.environ["OPENAI_BASE_URL"], "api_key": "any"}
OPENAI = {"custom_llm_provider": "openai", **WHERE}
SAID = [{"role": "user", "content": "Say one two three."}]


def request(custom_id: str, model: str = "tiny") -> bytes:
    body = {"model": model, "messages": SAID}
    line = {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body}
    return json.dumps(line).encode() + b"\n"


def created(lines: bytes) -> LiteLLMBatch:
    file = litellm.create_file(file=("a.jsonl", lines), purpose="batch", **OPENAI)
    return litellm.create_batch(
        input_file_id=file.id, endpoint=CHAT, completion_window="24h", **OPENAI
    )


batch = created(b"".join(request(f"request-{number}") for number in range(10)))
deadline = time.monotonic() + 60
while batch.status != "completed":
    assert time.monotonic() < deadline, batch
    time.sleep(0.1)
    batch = litellm.retrieve_batch(batch_id=batch.id, **OPENAI)
    LiteLLMBatch.model_validate(batch.model_dump())
content = litellm.file_content(file_id=batch.output_file_id, **OPENAI)
answers = [json.loads(line) for line in content.text.splitlines()]
assert [one["custom_id"] for one in answers] == [f"request-{number}" for number in range(10)]

slow = created(b"".join(request(str(number), "slow") for number in range(60)))
assert litellm.cancel_batch(batch_id=slow.id, **OPENAI).status == "cancelling"
listed = litellm.list_batches(limit=10, **OPENAI)
assert [one.id for one in listed.data][:2] == [slow.id, batch.id]
for one in listed.data:
    LiteLLMBatch.model_validate(one.model_dump())

answer = litellm.completion(model="openai/tiny", messages=SAID, **WHERE)
assert answer.choices[0].message.content
stream = litellm.completion(model="openai/tiny", messages=SAID, stream=True, **WHERE)
assert "".join(chunk.choices[0].delta.content or "" for chunk in stream)
found = litellm.embedding(model="openai/nomic-embed-text", input=["a", "b"], **WHERE)
assert [len(one["embedding"]) for one in found.data] == [16, 16]
