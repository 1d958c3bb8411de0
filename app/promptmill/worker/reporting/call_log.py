"""Log lines about calls that failed, of each host and error code a few a minute.

What the host said of a failure may repeat the prompt: it stands in the result and not in the log.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from promptmill.domain.calls import Call
from promptmill.domain.outcomes import ErrorCode, Failed
from promptmill.domain.retry import TryAgain
from promptmill.observability.logs import get_logger
from promptmill.store.queue.leases import Completion

MOST_A_MINUTE: Final = 10
_MINUTE_S: Final = 60.0
_LONGEST_TEXT: Final = 200


@dataclass(slots=True)
class _Minute:
    """The failures of one host with one error code within a minute."""

    began_at: float
    told: int = 0
    left_out: int = 0


class CallLog:
    """Tells of calls that failed: the first ten a minute of each host and code, then their number.

    With texts every call is told at debug, with the beginnings of its prompt and its answer.
    """

    def __init__(
        self, *, with_texts: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock` gives monotonic seconds."""
        self._with_texts = with_texts
        self._clock = clock
        self._minutes: dict[tuple[str, ErrorCode], _Minute] = {}
        self._log = get_logger()
        if with_texts:
            self._log.warning(
                "Prompts and answers go into the log, at debug (PROMPTMILL_LOG_TEXTS).",
                action="log_texts",
            )

    def note(self, completions: Iterable[Completion]) -> None:
        """Tell of calls whose outcomes were recorded just now."""
        self._tell_left_out()
        for completion in completions:
            outcome = completion.outcome
            if self._with_texts:
                self._log.debug(
                    "A call has ended.",
                    action="call_texts",
                    prompt=_prompt_of(completion.lease.call),
                    answer=(outcome.response or "")[:_LONGEST_TEXT],
                    **_named(completion),
                )
            if isinstance(outcome, Failed) and outcome.code is not ErrorCode.CANCELLED:
                self._note_failure(completion, outcome)

    def _note_failure(self, completion: Completion, failed: Failed) -> None:
        key = completion.host_url, failed.code
        minute = self._minutes.setdefault(key, _Minute(self._clock()))
        if minute.told >= MOST_A_MINUTE:
            minute.left_out += 1
            return
        minute.told += 1
        is_again = isinstance(completion.decision, TryAgain)
        self._log.warning(
            f"A call failed{', and its prompt goes back to the queue' if is_again else ''}.",
            action="attempt_failed",
            error_code=failed.code.value,
            **_named(completion),
        )

    def _tell_left_out(self) -> None:
        now = self._clock()
        over = [key for key, each in self._minutes.items() if now - each.began_at >= _MINUTE_S]
        for host, code in over:
            minute = self._minutes.pop((host, code))
            if minute.left_out:
                self._log.warning(
                    "More calls failed in the same way.",
                    action="attempts_failed",
                    host=host,
                    error_code=code.value,
                    prompts=minute.left_out,
                )


def _named(completion: Completion) -> dict[str, str | int]:
    lease = completion.lease
    return {
        "batch_id": lease.batch_id,
        "prompt_index": lease.index,
        "attempt": lease.attempt,
        "host": completion.host_url,
        "model": lease.call.model,
    }


def _prompt_of(call: Call) -> str:
    """The beginning of what the model was asked, without images."""
    last = call.messages[-1].get("content") if call.messages else None
    text = call.prompt or (call.texts[0] if call.texts else last)
    return str(text or "")[:_LONGEST_TEXT]
