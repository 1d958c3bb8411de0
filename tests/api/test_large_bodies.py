"""A batch of a hundred thousand prompts comes in while the service goes on answering."""

from __future__ import annotations

import asyncio
import gc
import json
import time
import tracemalloc

import pytest

from promptmill.api.intake.batches import receive_batch
from promptmill.settings import Settings

PROMPTS = 100_000
CHATS = 50_000
LONGEST_STALL_S = 0.1
MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def _as_after_the_start_of_the_service():
    """The service freezes what its start has made, so that collections do not go through it."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def bodies() -> dict[str, bytes]:
    text = "x" * 226
    return {
        "texts": json.dumps({"prompts": [f"{i:06d} {text}" for i in range(PROMPTS)]}).encode(),
        "texts beyond latin-1": json.dumps(
            {"prompts": [f"{i:06d} 😀 {text}" for i in range(PROMPTS)]}, ensure_ascii=False
        ).encode(),
        "objects": json.dumps(
            {"prompts": [{"prompt": f"{i:06d} {text}", "id": str(i)} for i in range(PROMPTS)]}
        ).encode(),
        "chats": json.dumps(
            {
                "prompts": [
                    {"messages": [{"role": "user", "content": f"{i:06d}"}], "options": {"seed": i}}
                    for i in range(CHATS)
                ]
            }
        ).encode(),
    }


class ArrivingRequest:
    """What the reader sees of a request whose body comes in pieces of 64 KiB."""

    def __init__(self, body: bytes) -> None:
        self.headers = {"content-type": "application/json"}
        self._body = body

    async def stream(self):
        for start in range(0, len(self._body), 65536):
            await asyncio.sleep(0)
            yield self._body[start : start + 65536]


async def longest_stall_while(work) -> tuple[float, object]:
    """The longest time in which the event loop ran nothing else, and what the work gave."""
    longest, last = 0.0, time.perf_counter()

    async def tick() -> None:
        nonlocal longest, last
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

    ticking = asyncio.create_task(tick())
    try:
        given = await work
        await asyncio.sleep(0.002)
    finally:
        ticking.cancel()
    return longest, given


@pytest.mark.proof
@pytest.mark.parametrize("kind", ["texts", "texts beyond latin-1", "objects", "chats"])
async def test_reading_a_large_batch_never_stops_the_event_loop(kind) -> None:
    body = bodies()[kind]

    stall_s, received = await longest_stall_while(
        receive_batch(ArrivingRequest(body), Settings(database_url="sqlite:///unused"))
    )

    assert len(received.draft.prompts) == (CHATS if kind == "chats" else PROMPTS)
    assert stall_s < LONGEST_STALL_S


@pytest.mark.proof
@pytest.mark.parametrize(
    ("kind", "most_mib"), [("texts", 80), ("texts beyond latin-1", 190), ("objects", 110)]
)
async def test_reading_a_large_batch_keeps_its_body_and_its_prompts_in_memory_and_no_more(
    kind, most_mib
) -> None:
    body = bodies()[kind]

    tracemalloc.start()
    try:
        await receive_batch(ArrivingRequest(body), Settings(database_url="sqlite:///unused"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    print(f"{kind}: {len(body) / MIB:.0f} MiB body, {peak / MIB:.0f} MiB at most")
    assert peak < most_mib * MIB


@pytest.mark.proof
async def test_a_large_batch_is_stored_whole_while_others_are_answered(service) -> None:
    stall_s, response = await longest_stall_while(service.post(bodies()["texts"]))

    print(f"stall {stall_s * 1000:.0f} ms")
    assert response.status_code == 202
    assert response.json()["counts"]["total"] == PROMPTS
    assert stall_s < LONGEST_STALL_S
