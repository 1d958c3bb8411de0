"""A worker embeds the texts of a batch, several with each call to Ollama."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from promptmill.domain.batches import TEXTS, BatchKind, PromptDraft
from promptmill.domain.lifecycle import JobState
from promptmill.domain.limits import Limits
from promptmill.domain.vectors import packed, unpacked
from promptmill.services import batches


def vectors(body: dict[str, Any]) -> httpx.Response:
    """As Ollama answers: a vector for each text, and the tokens of all."""
    found = [[float(len(text)), 0.5] for text in body["input"]]
    answer = {"model": body["model"], "embeddings": found, "prompt_eval_count": 10 * len(found)}
    return httpx.Response(200, json=answer)


def refusing(bad: str, status: int = 400, error: str = "the input length exceeds the context"):
    """As `vectors`, but a call with the bad text fails as a whole."""

    def answer(body: dict[str, Any]) -> httpx.Response:
        if bad in body["input"]:
            return httpx.Response(status, json={"error": error})
        return vectors(body)

    return answer


async def test_each_text_gets_its_own_vector_out_of_a_shared_call(serving, ollama) -> None:
    ollama.answer = vectors
    async with serving(texts_per_call=4) as service:
        batch_id = await service.submit(
            [PromptDraft("x" * n) for n in range(1, 11)],
            kind=BatchKind.EMBED,
            parameters={"truncate": False},
        )
        batch = await service.ended(batch_id)
        results = await service.results(batch_id)
    assert sorted(len(body["input"]) for body in ollama.asked) == [2, 4, 4]
    assert all(body["truncate"] is False and "stream" not in body for body in ollama.asked)
    assert batch.state is JobState.COMPLETED
    lengths = [unpacked(result.embedding or b"")[0] for result in results]
    assert lengths == [float(n) for n in range(1, 11)]
    assert sum(result.metrics.prompt_eval_count or 0 for result in results) == 100
    assert batch.usage.prompt_tokens == 100
    assert [result.response for result in results] == [""] * 10


async def test_a_text_that_ollama_refuses_fails_alone(serving, ollama) -> None:
    ollama.answer = refusing("Question 5")
    async with serving(texts_per_call=8) as service:
        batch_id = await service.submit(16, kind=BatchKind.EMBED)
        batch = await service.ended(batch_id)
        results = await service.results(batch_id)
    assert batch.state is JobState.COMPLETED
    assert [result.index for result in results if result.error_code] == [5]
    assert results[5].error_code == "invalid_request"
    assert [result.attempts for result in results] == [1] * 16
    assert sorted(len(body["input"]) for body in ollama.asked) == [1, 1, 2, 2, 4, 4, 8, 8]


async def test_a_text_that_brings_calls_down_uses_up_its_own_attempts_only(serving, ollama) -> None:
    ollama.answer = refusing("Question 2", status=500, error="the runner has crashed")
    async with serving(texts_per_call=4) as service:
        batch_id = await service.submit(4, kind=BatchKind.EMBED, max_attempts=2)
        await service.ended(batch_id)
        results = await service.results(batch_id)
    assert [result.status.value for result in results] == [
        *("succeeded", "succeeded", "failed", "succeeded")
    ]
    assert [result.attempts for result in results] == [1, 1, 2, 1]


async def test_a_missing_model_is_no_texts_fault(serving, ollama) -> None:
    ollama.answer = lambda body: httpx.Response(
        404, json={"error": f'model "{body["model"]}" not found, try pulling it first'}
    )
    async with serving(texts_per_call=8) as service:
        batch_id = await service.submit(8, kind=BatchKind.EMBED)
        await service.ended(batch_id)
        results = await service.results(batch_id)
    assert len(ollama.asked) == 1
    assert {result.error_code for result in results} == {"model_not_found"}


async def test_calls_in_flight_stay_within_max_concurrent(serving, ollama) -> None:
    async def answer(body: dict[str, Any]) -> httpx.Response:
        await asyncio.sleep(0.01)
        return vectors(body)

    ollama.answer = answer
    async with serving(texts_per_call=4) as service:
        batch_id = await service.submit(
            80, kind=BatchKind.EMBED, limits=Limits(max_concurrent=2, rate_limit_delay_s=0)
        )
        batch = await service.ended(batch_id)
    assert (ollama.peak, len(ollama.asked)) == (2, 20)
    assert batch.counts.succeeded == 80


async def test_a_prompt_with_several_texts_has_their_vectors_one_behind_the_other(
    serving, ollama
) -> None:
    ollama.answer = vectors
    async with serving(texts_per_call=8) as service:
        several = PromptDraft("a", overrides={TEXTS: ["a", "bb", "ccc"]})
        batch_id = await service.submit([several, PromptDraft("dddd")], kind=BatchKind.EMBED)
        await service.ended(batch_id)
        results = await service.results(batch_id)
    (body,) = ollama.asked
    assert body["input"] == ["a", "bb", "ccc", "dddd"]
    assert results[0].embedding == packed([1.0, 0.5, 2.0, 0.5, 3.0, 0.5])
    assert results[1].embedding == packed([4.0, 0.5])


async def test_a_cancelled_batch_gives_up_shared_calls_and_counts_each_text_once(
    serving, ollama
) -> None:
    ollama.hold = asyncio.Event()
    ollama.answer = vectors
    async with serving(texts_per_call=4) as service:
        batch_id = await service.submit(
            20, kind=BatchKind.EMBED, limits=Limits(max_concurrent=2, rate_limit_delay_s=0)
        )
        await asyncio.wait_for(ollama.arrived.wait(), 20)
        await batches.cancel(service.resources, batch_id)
        batch = await service.ended(batch_id)
    assert batch.counts.cancelled == 20


async def test_too_few_vectors_are_an_error_of_the_host(serving, ollama) -> None:
    ollama.answer = lambda body: httpx.Response(200, json={"embeddings": [[1.0]] * 3})
    async with serving(texts_per_call=2) as service:
        batch_id = await service.submit(2, kind=BatchKind.EMBED, max_attempts=1)
        await service.ended(batch_id)
        results = await service.results(batch_id)
    assert [result.error for result in results] == [
        "The host did not send a vector for each text."
    ] * 2
