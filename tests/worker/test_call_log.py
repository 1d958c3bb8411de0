"""Log lines about calls that failed: which of them there are, and what never stands in them."""

from __future__ import annotations

from typing import Any

import structlog

from promptmill.domain.calls import Call
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import Blame, ErrorCode, Failed, Outcome, Succeeded
from promptmill.domain.retry import Decision, Finish, TryAgain
from promptmill.store.db.tables.batches import prompt_id
from promptmill.store.queue.leases import Completion, Lease
from promptmill.worker.reporting.call_log import MOST_A_MINUTE, CallLog

MARKER = "swordfish"


def completion(
    outcome: Outcome | None = None, *, decision: Decision | None = None, host: str = "http://gpu:1"
) -> Completion:
    lease = Lease(
        task_id=prompt_id(3, 7),
        token=1,
        job_key=3,
        batch_id="batch_1",
        attempt=2,
        max_attempts=3,
        limits=Limits(max_concurrent=1, rate_limit_delay_s=0),
        call=Call(model="tiny", prompt=MARKER + "x" * 500),
        host_key=1,
        accepted_at_ms=0,
        claimed_at_ms=0,
        claimed_at=0.0,
        start_by=0.0,
        available_at_ms=0,
    )
    return Completion(
        lease=lease,
        outcome=outcome or failed(),
        decision=decision or Finish(),
        host_url=host,
        started_at_ms=0,
        finished_at_ms=0,
    )


def failed(code: ErrorCode = ErrorCode.TIMEOUT) -> Failed:
    message = f"The host said: {MARKER}"
    return Failed(code=code, message=message, blame=Blame.ATTEMPT, response=MARKER)


class Lines:
    """A call log whose clock stands, and what it has written."""

    def __init__(self, *, with_texts: bool = False) -> None:
        self.now = 0.0
        self.written: list[dict[str, Any]] = []
        self._with_texts = with_texts
        self._log: CallLog | None = None

    def note(self, *completions: Completion) -> list[dict[str, Any]]:
        """The lines about these."""
        with structlog.testing.capture_logs() as lines:
            if self._log is None:
                self._log = CallLog(with_texts=self._with_texts, clock=lambda: self.now)
            self._log.note(completions)
        return list(lines)


def test_a_failure_names_its_prompt_and_none_of_its_texts() -> None:
    (line,) = Lines().note(completion())

    assert line == {
        "event": "A call failed.",
        "action": "attempt_failed",
        "log_level": "warning",
        "batch_id": "batch_1",
        "prompt_index": 7,
        "attempt": 2,
        "host": "http://gpu:1",
        "model": "tiny",
        "error_code": "timeout",
    }


def test_that_the_prompt_goes_back_is_told_and_a_cancelled_one_is_no_failure() -> None:
    again = TryAgain(wait_s=1, charged=True)

    lines = Lines().note(
        completion(decision=again),
        completion(failed(ErrorCode.CANCELLED)),
        completion(Succeeded(response="fine")),
    )

    assert [line["event"] for line in lines] == [
        "A call failed, and its prompt goes back to the queue."
    ]


def test_of_each_host_and_code_ten_a_minute_are_told_and_the_others_counted() -> None:
    lines = Lines()

    first = lines.note(*[completion()] * (MOST_A_MINUTE + 5))
    others = lines.note(completion(host="http://cpu:1"), completion(failed(ErrorCode.EMPTY)))
    lines.now = 59.0
    quiet = lines.note(completion())
    lines.now = 60.0
    after = lines.note(completion())

    assert (len(first), len(others), len(quiet)) == (MOST_A_MINUTE, 2, 0)
    assert [(line["action"], line.get("prompts")) for line in after] == [
        ("attempts_failed", 6),
        ("attempt_failed", None),
    ]


def test_texts_are_written_only_when_they_are_asked_for_and_then_their_beginning() -> None:
    answer = completion(Succeeded(response=MARKER + "y" * 500))

    assert Lines().note(answer) == []
    notice, line = Lines(with_texts=True).note(answer)

    assert (notice["action"], notice["log_level"]) == ("log_texts", "warning")
    assert (line["action"], line["log_level"]) == ("call_texts", "debug")
    assert line["prompt"] == MARKER + "x" * 191
    assert line["answer"] == MARKER + "y" * 191
