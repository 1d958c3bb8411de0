"""Answers that came whole and are still not what was asked for, from the host to the result."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from promptmill.domain.batches import PromptDraft
from promptmill.domain.lifecycle import JobState, TaskState
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import ErrorCode
from tests.worker.conftest import stream

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}


def speaking(*answers: str, **final: Any) -> Any:
    """A host that gives these answers one after the other, the last one for ever."""
    left = list(answers)
    return lambda body: stream(left.pop(0) if len(left) > 1 else left[0], **final)


async def test_a_batch_with_a_schema_gets_only_answers_that_fit_it(
    serving: Any, ollama: Any
) -> None:
    answers = {
        "fits": '{"name": "Ada", "age": 36}',
        "lacks": '{"name": "Ada"}',
        "talks": "Sure, here you are",
    }
    ollama.answer = lambda body: stream(answers[body["prompt"]])
    async with serving() as service:
        batch_id = await service.submit(
            list(answers), parameters={"format": PERSON}, max_attempts=1
        )
        batch = await service.ended(batch_id)
        results = await service.results(batch_id)
    assert (batch.counts.succeeded, batch.counts.failed) == (1, 2)
    assert [(one.status, one.error_code, one.defect) for one in results] == [
        (TaskState.SUCCEEDED, None, None),
        (TaskState.FAILED, ErrorCode.SCHEMA_MISMATCH, ErrorCode.SCHEMA_MISMATCH),
        (TaskState.FAILED, ErrorCode.INVALID_JSON, ErrorCode.INVALID_JSON),
    ]
    assert [one.response for one in results] == list(answers.values())
    assert "`$` has no `age`" in str(results[1].error)


async def test_an_answer_with_a_defect_is_tried_again_because_another_may_do_better(
    serving: Any, ollama: Any
) -> None:
    ollama.answer = speaking("", "Sure:", "[]", '{"name": "Ada", "age": 36}')
    async with serving() as service:
        batch_id = await service.submit(1, parameters={"format": PERSON}, max_attempts=4)
        await service.ended(batch_id)
        (result,) = await service.results(batch_id)
    assert (result.status, result.attempts) == (TaskState.SUCCEEDED, 4)


async def test_a_model_with_no_choice_is_asked_once(serving: Any, ollama: Any) -> None:
    ollama.answer = speaking("Sure:")
    parameters = {"format": PERSON, "options": {"temperature": 0}}
    async with serving() as service:
        batch_id = await service.submit(1, parameters=parameters, max_attempts=5)
        batch = await service.ended(batch_id)
        (result,) = await service.results(batch_id)
    assert (batch.state, result.attempts, len(ollama.asked)) == (JobState.FAILED, 1, 1)
    assert result.error_code is ErrorCode.INVALID_JSON


async def test_a_prompts_own_format_is_the_one_that_its_answer_is_held_to(
    serving: Any, ollama: Any
) -> None:
    ollama.answer = speaking("[1]")
    async with serving() as service:
        batch_id = await service.submit(
            parameters={"format": PERSON},
            max_attempts=1,
            prompts=[
                PromptDraft("a"),
                PromptDraft("b", overrides={"format": {"type": "array"}}),
                PromptDraft("c", overrides={"format": "json"}),
            ],
        )
        await service.ended(batch_id)
        results = await service.results(batch_id)
    assert [one.error_code for one in results] == [ErrorCode.SCHEMA_MISMATCH, None, None]


@pytest.mark.parametrize(
    ("fail_on", "error_code"),
    [
        (None, None),
        ((), None),
        ((ErrorCode.EMPTY, ErrorCode.INVALID_JSON), None),
        ((ErrorCode.TRUNCATED,), ErrorCode.TRUNCATED),
    ],
)
async def test_what_counts_as_a_failure_is_the_batchs_choice(
    serving: Any, ollama: Any, fail_on: Any, error_code: Any
) -> None:
    ollama.answer = speaking("Once upon", done_reason="length")
    async with serving() as service:
        batch_id = await service.submit(1, fail_on=fail_on)
        batch = await service.ended(batch_id)
        (result,) = await service.results(batch_id)
    assert batch.fail_on == fail_on
    assert (result.error_code, result.defect) == (error_code, ErrorCode.TRUNCATED)
    assert (result.response, result.attempts) == ("Once upon", 1)


@pytest.mark.parametrize("counted", [512, 511, 258])
@pytest.mark.parametrize(
    ("fail_on", "status"),
    [(None, TaskState.SUCCEEDED), ((ErrorCode.PROMPT_TRUNCATED,), TaskState.FAILED)],
)
async def test_a_prompt_that_ollama_cut_to_the_asked_window_is_told(
    serving: Any, ollama: Any, counted: int, fail_on: Any, status: TaskState
) -> None:
    ollama.answer = speaking("To what?", prompt_eval_count=counted)
    async with serving() as service:
        batch_id = await service.submit(
            ["The word is PLUM. " + "filler " * 1000 + "What is the word?"],
            parameters={"options": {"num_ctx": 512}},
            fail_on=fail_on,
        )
        await service.ended(batch_id)
        (result,) = await service.results(batch_id)
    assert (result.status, result.defect) == (status, ErrorCode.PROMPT_TRUNCATED)
    assert (result.attempts, result.response) == (1, "To what?")
    if status is TaskState.FAILED:
        assert f"evaluated {counted} tokens" in str(result.error)
        assert "num_ctx" in str(result.error)


async def test_the_window_of_a_loaded_model_is_asked_of_its_host_and_not_for_each_prompt(
    serving: Any, ollama: Any
) -> None:
    ollama.answer = lambda body: stream(
        "Yes.", prompt_eval_count=2050 if len(body["prompt"]) > 9000 else 2000
    )
    ollama.loaded = [{"name": "m:latest", "model": "m:latest", "context_length": 4096}]
    async with serving() as service:
        before = ollama.looks
        batch_id = await service.submit(
            ["long " * 4000, *["half " * 1700] * 30],
            limits=Limits(max_concurrent=31, rate_limit_delay_s=0),
        )
        await service.ended(batch_id)
        results = await service.results(batch_id)
        looks = ollama.looks - before
    assert [one.defect for one in results] == [ErrorCode.PROMPT_TRUNCATED, *[None] * 30]
    assert 1 <= looks <= 5


async def test_an_empty_answer_is_a_failure_unless_the_batch_takes_it(
    serving: Any, ollama: Any
) -> None:
    ollama.answer = speaking(" ")
    async with serving() as service:
        strict = await service.ended(await service.submit(1, max_attempts=2))
        asked = len(ollama.asked)
        lenient_id = await service.submit(1, max_attempts=2, fail_on=())
        lenient = await service.ended(lenient_id)
        (result,) = await service.results(lenient_id)
    assert (strict.state, asked) == (JobState.FAILED, 2)
    assert (lenient.state, result.response, result.defect) == (
        JobState.COMPLETED,
        " ",
        ErrorCode.EMPTY,
    )


async def test_a_long_check_does_not_hold_up_the_other_prompts(serving: Any, ollama: Any) -> None:
    costly = json.dumps(list(range(60_000)))
    ollama.answer = lambda body: stream(costly if body["prompt"] == "costly" else "quick")
    slow = {"items": {"allOf": [{"type": "integer"}] * 20}}
    async with serving() as service:
        slow_id = await service.submit(["costly"], parameters={"format": slow}, max_attempts=1)
        await ollama.arrived.wait()
        quick_id = await service.submit(20)
        waited = asyncio.ensure_future(service.ended(slow_id))
        await service.ended(quick_id)
        assert not waited.done(), "the quick ones came first"
        batch = await waited
    assert "takes too long to check" in str(batch.error)
