"""Which requests are sent again, and what becomes of the others."""

from __future__ import annotations

import json

import pytest

from promptmill.client.errors import (
    FieldError,
    PromptmillProblem,
    ServiceUnreachable,
    UnexpectedAnswer,
)
from promptmill.client.judgement import Again, BrokenOff, Patience, error_of, judge, long_polls
from promptmill.client.requests import batches
from promptmill.client.requests.batches import Answer

GET = batches.get_batch("batch_1")
CANCEL = batches.cancel_batch("batch_1")
NEVER_SENT = BrokenOff(reason="refused", was_sent=False)
CUT = BrokenOff(reason="cut", was_sent=True)


def problem(status: int, **fields: object) -> Answer:
    headers = {"retry-after": str(fields.pop("retry_after"))} if "retry_after" in fields else {}
    body = {"type": "about:blank", "title": "No", "status": status, **fields}
    return Answer(status=status, headers=headers, content=json.dumps(body).encode())


@pytest.mark.parametrize(
    ("request_", "outcome", "pause_s"),
    [
        (GET, NEVER_SENT, 0.2),
        (GET, CUT, 0.2),
        (CANCEL, NEVER_SENT, 0.2),
        (GET, problem(503), 0.2),
        (CANCEL, problem(503), 0.2),
        (GET, problem(429, retry_after=7), 7.0),
        (GET, problem(504), 0.2),
    ],
)
def test_what_can_do_no_harm_is_sent_again(
    request_: batches.Request[object], outcome: Answer | BrokenOff, pause_s: float
) -> None:
    assert judge(request_, outcome, attempt=1, attempts=3) == Again(pause_s)


@pytest.mark.parametrize(
    ("request_", "outcome", "error"),
    [
        (CANCEL, CUT, ServiceUnreachable),
        (CANCEL, problem(504), PromptmillProblem),
        (GET, problem(404), PromptmillProblem),
        (GET, problem(500), PromptmillProblem),
        (GET, problem(429, retry_after=3600), PromptmillProblem),
    ],
)
def test_what_might_do_harm_or_would_not_help_is_not_sent_again(
    request_: batches.Request[object], outcome: Answer | BrokenOff, error: type[Exception]
) -> None:
    with pytest.raises(error):
        judge(request_, outcome, attempt=1, attempts=3)


def test_pauses_double_and_the_last_attempt_raises() -> None:
    assert judge(GET, CUT, attempt=2, attempts=3) == Again(0.4)
    with pytest.raises(ServiceUnreachable, match="cut"):
        judge(GET, CUT, attempt=3, attempts=3)


def test_a_problem_keeps_all_that_the_service_said() -> None:
    error = error_of(
        Answer(
            status=422,
            headers={"x-request-id": "r1", "retry-after": "2"},
            content=json.dumps(
                {
                    "title": "Invalid request",
                    "detail": "Two fields are wrong.",
                    "errors": [{"pointer": "/prompts/3", "detail": "must not be empty"}, "odd"],
                }
            ).encode(),
        )
    )

    assert isinstance(error, PromptmillProblem)
    assert (error.status, error.title, error.detail) == (
        422,
        "Invalid request",
        "Two fields are wrong.",
    )
    assert error.errors == (FieldError(pointer="/prompts/3", detail="must not be empty"),)
    assert (error.retry_after_s, error.request_id) == (2.0, "r1")
    assert str(error) == (
        "422 Invalid request: Two fields are wrong.\n/prompts/3: must not be empty"
    )


@pytest.mark.parametrize(
    ("status", "content", "error"),
    [
        (404, b"<html>not found</html>", UnexpectedAnswer),
        (301, b"", UnexpectedAnswer),
        (404, b'{"detail": "Not Found"}', UnexpectedAnswer),
        (502, b"<html>bad gateway</html>", ServiceUnreachable),
    ],
)
def test_an_error_of_something_else_is_told_apart(
    status: int, content: bytes, error: type[Exception]
) -> None:
    assert isinstance(error_of(Answer(status=status, headers={}, content=content)), error)


def test_a_service_that_never_answered_is_given_up_at_once() -> None:
    assert Patience(60).pause_s(ServiceUnreachable("no"), now=0.0) is None


def test_a_service_that_went_away_is_waited_for_as_long_as_said() -> None:
    patience = Patience(10)
    patience.answered()
    lost = ServiceUnreachable("no")

    pauses = [patience.pause_s(lost, now=now) for now in (100.0, 100.2, 105.0, 110.0)]

    assert pauses == [0.2, 0.4, 0.8, None]


def test_an_answer_starts_the_patience_anew() -> None:
    patience = Patience(10)
    lost = ServiceUnreachable("no")
    patience.answered()
    patience.pause_s(lost, now=100.0)
    patience.answered()

    assert patience.pause_s(lost, now=200.0) == 0.2


def test_a_refusal_is_no_outage() -> None:
    patience = Patience(10)
    patience.answered()

    assert patience.pause_s(PromptmillProblem(status=404, title="No"), now=0.0) is None
    assert patience.pause_s(PromptmillProblem(status=503, title="Not now"), now=0.0) == 0.2


def test_polls_are_as_long_as_wanted_until_the_time_is_over() -> None:
    times = iter([0.0, 0.0, 30.0, 60.0])

    assert list(long_polls(30.0, 70.0, lambda: next(times))) == [30.0, 30.0, 10.0]


def test_an_end_is_looked_for_even_with_no_time_left() -> None:
    assert list(long_polls(30.0, 0.0, lambda: 5.0)) == [0.0]
