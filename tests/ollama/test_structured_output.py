"""Which defects an answer has, which of them fails the prompt, and what is said of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.domain.calls import Call
from promptmill.domain.outcomes import (
    DEFAULT_FAIL_ON,
    DEFECTS,
    Blame,
    CallMetrics,
    ErrorCode,
    Failed,
    Succeeded,
)
from promptmill.ollama.answer_checks.structured_output import is_quick, judge

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}
FITS = '{"name": "Ada", "age": 36}'
TOOL_CALLS = [{"function": {"name": "weather", "arguments": {}}}]

# Answer, whether it is JSON, whether it fits PERSON.
ANSWERS = [
    ("", False, False),
    (" \n\t", False, False),
    ("Sure: {}", False, False),
    ('{"name": "Ada", "ag', False, False),
    ("NaN", False, False),
    ('{"name": "Ada", "age": 36} {}', False, False),
    ("[" * 300 + "]" * 300, False, False),
    ("7", True, False),
    ('{"name": "Ada"}', True, False),
    ('{"name": "Ada", "age": "36"}', True, False),
    (FITS, True, True),
    (f"\n {FITS}\n", True, True),
]


def call(**parameters: Any) -> Call:
    return Call(model="m", prompt="p", parameters=parameters)


def judged(response: str, *, fail_on=None, done_reason="stop", **parameters: Any):
    answer = Succeeded(response=response, done_reason=done_reason)
    return judge(answer, call(**parameters), fail_on=fail_on)


@given(
    st.sampled_from(ANSWERS),
    st.sampled_from([None, "json", PERSON]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.none() | st.sets(st.sampled_from(DEFECTS)),
)
def test_the_first_defect_that_counts_fails_the_prompt_and_else_the_first_is_noted(
    answer, wanted, prompt_cut, cut, calls_a_tool, fail_on
) -> None:
    response, is_json, fits = answer
    blank = not response.strip()
    bare_tool_call = blank and calls_a_tool
    present = {
        ErrorCode.PROMPT_TRUNCATED: prompt_cut,
        ErrorCode.TRUNCATED: cut,
        ErrorCode.EMPTY: blank and not calls_a_tool,
        ErrorCode.INVALID_JSON: wanted is not None and not is_json and not bare_tool_call,
        ErrorCode.SCHEMA_MISMATCH: wanted is PERSON and is_json and not fits,
    }
    defects = [code for code in DEFECTS if present[code]]
    counting = [
        code for code in defects if code in (DEFAULT_FAIL_ON if fail_on is None else fail_on)
    ]
    given = Succeeded(
        response=response,
        thinking="hm",
        tool_calls=TOOL_CALLS if calls_a_tool else None,
        logprobs=[{"token": "x"}],
        done_reason="length" if cut else "stop",
        metrics=CallMetrics(prompt_eval_count=512 if prompt_cut else 300, eval_count=3),
    )
    asked = call(format=wanted) if wanted else call()

    outcome = judge(given, asked, fail_on=fail_on, windows={512})

    if counting:
        assert isinstance(outcome, Failed)
        assert outcome.code is counting[0]
        assert outcome.defect is defects[0]
        for kept in ("response", "thinking", "tool_calls", "logprobs", "done_reason", "metrics"):
            assert getattr(outcome, kept) == getattr(given, kept)
    else:
        assert outcome == replace(given, defect=defects[0] if defects else None)


def test_a_cut_answer_is_a_success_with_its_defect_unless_the_batch_asks_otherwise() -> None:
    lenient = judged("Once upon", done_reason="length")
    strict = judged("Once upon", done_reason="length", fail_on=[ErrorCode.TRUNCATED])

    assert isinstance(lenient, Succeeded)
    assert lenient.defect is ErrorCode.TRUNCATED
    assert isinstance(strict, Failed)
    assert (strict.code, strict.blame, strict.response) == (
        ErrorCode.TRUNCATED,
        Blame.PROMPT,
        "Once upon",
    )


def test_json_that_was_cut_is_no_json_and_says_that_it_was_cut() -> None:
    outcome = judged('{"name": "Ad', done_reason="length", format="json")

    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.defect) == (ErrorCode.INVALID_JSON, ErrorCode.TRUNCATED)
    assert outcome.message == (
        "The answer was cut at its limit of tokens (done_reason `length`). The answer is not JSON"
        ' (EOF while parsing a string at line 1 column 12): {"name": "Ad'
    )


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (
            '{"name": "Ada", "age": "old"}',
            (
                'The answer does not fit the schema: `$.age` is "old", which breaks'
                ' "type": "integer". It reads: {"name": "Ada", "age": "old"}'
            ),
        ),
        (
            '{"name": "Ada"}',
            'The answer does not fit the schema: `$` has no `age`. It reads: {"name": "Ada"}',
        ),
    ],
)
def test_a_mismatch_says_where_and_why(response, message) -> None:
    outcome = judged(response, format=PERSON)

    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.message) == (ErrorCode.SCHEMA_MISMATCH, message)


@given(st.text(max_size=3000), st.sampled_from(["json", PERSON]))
def test_a_message_is_one_short_line_whatever_the_model_said(text, wanted) -> None:
    for response in (text, json.dumps({"name": text, "age": text, text: [text]})):
        outcome = judged(response, format=wanted)

        if isinstance(outcome, Failed):
            assert len(outcome.message) < 1000
            assert len(outcome.message.splitlines()) == 1
            assert outcome.response == response


@pytest.mark.parametrize(
    ("options", "blame"),
    [
        (None, Blame.ATTEMPT),
        ({}, Blame.ATTEMPT),
        ({"temperature": 0.7, "seed": -1}, Blame.ATTEMPT),
        ({"temperature": 0}, Blame.PROMPT),
        ({"temperature": 0.0}, Blame.PROMPT),
        ({"seed": 0}, Blame.PROMPT),
        ({"seed": 42, "temperature": 1.0}, Blame.PROMPT),
        ("not an object", Blame.ATTEMPT),
    ],
)
@pytest.mark.parametrize("response", ["", "Sure:", "[]"])
def test_trying_again_helps_unless_the_model_would_say_the_same_again(
    response, options, blame
) -> None:
    outcome = judged(response, format=PERSON, options=options)

    assert isinstance(outcome, Failed)
    assert outcome.blame is blame


def test_a_schema_that_was_never_checked_is_the_prompts_fault_and_breaks_nothing() -> None:
    outcome = judged("[]", format={"$ref": "https://example.com/schema.json"})

    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.blame) == (ErrorCode.SCHEMA_MISMATCH, Blame.PROMPT)
    assert "`https://example.com/schema.json`" in outcome.message


def test_an_answer_nested_too_deeply_for_its_schema_is_a_mismatch() -> None:
    tree = {"allOf": [{"items": {"$ref": "#"}}]}

    assert isinstance(judged("[" * 20 + "]" * 20, format=tree), Succeeded)
    deep = judged("[" * 199 + "]" * 199, format=tree)

    assert isinstance(deep, Failed)
    assert "nested deeper than can be followed" in deep.message


def test_only_an_answer_that_takes_no_time_may_be_judged_by_the_event_loop() -> None:
    short, long = Succeeded(response="{}"), Succeeded(response="x" * 1_000_000)

    assert is_quick(long, call())
    assert is_quick(short, call(format="json"))
    assert not is_quick(long, call(format="json"))
    assert not is_quick(short, call(format=PERSON))
