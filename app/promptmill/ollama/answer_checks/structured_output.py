"""Defects of an answer with `done: true`, and whether they make it a failure.

All defects of an answer are determined, in the order of `DEFECTS`. The first that the batch counts
as a failure fails the prompt; without one, the prompt succeeds and its first defect is recorded.
With `Call.cut_is_answer` a cut answer succeeds in any case.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from pydantic_core import from_json

from promptmill.domain.calls import Call
from promptmill.domain.context_window import text_of, was_cut
from promptmill.domain.outcomes import DEFAULT_FAIL_ON, Blame, ErrorCode, Failed, Outcome, Succeeded
from promptmill.ollama.answer_checks.counted_keywords import TooCostly
from promptmill.ollama.answer_checks.json_schema import Unsound, mismatch
from promptmill.ollama.text import one_line

BLAMES: Final = {
    ErrorCode.PROMPT_TRUNCATED: Blame.PROMPT,  # the window stays as it is
    ErrorCode.TRUNCATED: Blame.PROMPT,  # the limit stays as it is
    ErrorCode.EMPTY: Blame.ATTEMPT,
    ErrorCode.INVALID_JSON: Blame.ATTEMPT,
    ErrorCode.SCHEMA_MISMATCH: Blame.ATTEMPT,
}
"""Blame of a defect if a repetition would give the same answer."""

_QUICK = 64 * 1024
_LONGEST_EXCERPT = 200
_OF_THE_TEXT: Final = (ErrorCode.EMPTY, ErrorCode.INVALID_JSON, ErrorCode.SCHEMA_MISMATCH)
"""Defects that may come of the answer's being cut."""
_NO_WINDOWS: Final[frozenset[int]] = frozenset()
_CUT = "The answer was cut at its limit of tokens (done_reason `length`)."


@dataclass(frozen=True, slots=True)
class _Defect:
    code: ErrorCode
    message: str
    of_the_request: bool = False
    """Whether the request causes the defect, so that a repetition has it again."""


def judge(
    answer: Succeeded,
    call: Call,
    *,
    fail_on: Collection[ErrorCode] | None,
    windows: Collection[int] = _NO_WINDOWS,
) -> Outcome:
    """Check an answer, and return it with its defects recorded or made a failure.

    `fail_on` holds the defects that are failures; None stands for `DEFAULT_FAIL_ON`. `windows` are
    the context windows that the model may have had (see `domain.context_window.was_cut`). With a
    schema the check may take seconds (see `is_quick`).
    """
    defects = _defects(answer, call, windows)
    if not defects:
        return answer
    first = defects[0].code
    if call.cut_is_answer and any(one.code is ErrorCode.TRUNCATED for one in defects):
        return replace(answer, defect=first)
    failures = DEFAULT_FAIL_ON if fail_on is None else fail_on
    for defect in defects:
        if defect.code in failures:
            also_cut = defect.code in _OF_THE_TEXT and any(
                other.code is ErrorCode.TRUNCATED for other in defects
            )
            return Failed.of_reply(
                replace(answer, defect=first),
                code=defect.code,
                message=f"{_CUT} {defect.message}" if also_cut else defect.message,
                blame=_blame(defect, call),
            )
    return replace(answer, defect=first)


def is_quick(answer: Succeeded, call: Call) -> bool:
    """Whether the check is quick enough for the event loop."""
    wanted = call.parameters.get("format")
    return not wanted or (isinstance(wanted, str) and len(answer.response) <= _QUICK)


def _defects(answer: Succeeded, call: Call, windows: Collection[int]) -> list[_Defect]:
    """List the defects of the answer, in the order of `DEFECTS`."""
    found: list[_Defect] = []
    tokens, sent = answer.metrics.prompt_eval_count, text_of(call)
    if sent is not None and was_cut(tokens, sent, windows):
        message = (
            f"Ollama cut the prompt to the model's context window: of {sent.chars} characters it"
            f" evaluated {tokens} tokens. Raise `num_ctx`, or shorten the prompt."
        )
        found.append(_Defect(ErrorCode.PROMPT_TRUNCATED, message))
    has_text = bool(answer.response) and not answer.response.isspace()
    if answer.done_reason == "length":
        found.append(_Defect(ErrorCode.TRUNCATED, _CUT))
    if not has_text and answer.tool_calls:
        return found  # With a tool call the text need not have the format.
    if not has_text:
        only = "only thought" if answer.thinking else "answered"
        found.append(_Defect(ErrorCode.EMPTY, f"The model {only}, with no text."))
    if wanted := call.parameters.get("format"):
        found.extend(_format_defects(answer.response, wanted))
    return found


def _format_defects(response: str, wanted: object) -> list[_Defect]:
    try:
        value = from_json(response, allow_inf_nan=False)
    except ValueError as error:
        message = f"The answer is not JSON ({one_line(str(error), 100)}): {_excerpt(response)}"
        return [_Defect(ErrorCode.INVALID_JSON, message)]
    if not isinstance(wanted, Mapping):
        return []
    try:
        reason = mismatch(cast("Mapping[str, Any]", wanted), value)
    except Unsound as fault:
        # The batch was accepted by a version that did not check schemas.
        message = f"The answer cannot be checked: the format {fault}."
        return [_Defect(ErrorCode.SCHEMA_MISMATCH, message, of_the_request=True)]
    except TooCostly as limit:
        message = f"The answer cannot be checked against the schema: {limit}."
        return [_Defect(ErrorCode.SCHEMA_MISMATCH, message)]
    if reason is None:
        return []
    message = f"The answer does not fit the schema: {reason}. It reads: {_excerpt(response)}"
    return [_Defect(ErrorCode.SCHEMA_MISMATCH, message)]


def _excerpt(response: str) -> str:
    return one_line(response, _LONGEST_EXCERPT) or "(nothing)"


def _blame(defect: _Defect, call: Call) -> Blame:
    again = defect.of_the_request or _says_the_same_again(call)
    return Blame.PROMPT if again else BLAMES[defect.code]


def _says_the_same_again(call: Call) -> bool:
    """Whether the model is deterministic: it takes the likeliest token, or has a fixed seed."""
    options: object = call.parameters.get("options")
    if not isinstance(options, Mapping):
        return False
    known = cast("Mapping[str, Any]", options)
    seed, temperature = known.get("seed"), known.get("temperature")
    return (isinstance(seed, int) and seed >= 0) or (
        isinstance(temperature, int | float) and temperature <= 0
    )
