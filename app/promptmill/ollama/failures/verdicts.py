"""Meaning of a failure: a code for the user, and its cause."""

from __future__ import annotations

from dataclasses import dataclass

from promptmill.domain.outcomes import Blame, ErrorCode


@dataclass(frozen=True, slots=True)
class FailureMeaning:
    """Meaning of a failure: the code that the user sees, and its cause."""

    code: ErrorCode
    blame: Blame


REFUSED = FailureMeaning(ErrorCode.HOST_REFUSED, Blame.REFUSAL)
MODEL_REFUSED = FailureMeaning(ErrorCode.HOST_REFUSED, Blame.PROMPT)
NO_MODEL = FailureMeaning(ErrorCode.MODEL_NOT_FOUND, Blame.PROMPT)
INVALID = FailureMeaning(ErrorCode.INVALID_REQUEST, Blame.PROMPT)
BUSY = FailureMeaning(ErrorCode.SERVER_BUSY, Blame.HOST)
GONE = FailureMeaning(ErrorCode.HOST_UNREACHABLE, Blame.HOST)
NO_UPSTREAM = FailureMeaning(ErrorCode.HOST_UNREACHABLE, Blame.GATEWAY)
PROXY_LATE = FailureMeaning(ErrorCode.TIMEOUT, Blame.GATEWAY)
LIMITED = FailureMeaning(ErrorCode.SERVER_BUSY, Blame.LIMIT)
BROKEN = FailureMeaning(ErrorCode.HOST_UNREACHABLE, Blame.ATTEMPT)
CUT = FailureMeaning(ErrorCode.INCOMPLETE, Blame.ATTEMPT)
ERROR = FailureMeaning(ErrorCode.SERVER_ERROR, Blame.ATTEMPT)
UNUSABLE = FailureMeaning(ErrorCode.SERVER_ERROR, Blame.PROMPT)
NOT_CONNECTED = FailureMeaning(ErrorCode.TIMEOUT, Blame.HOST)
LATE = FailureMeaning(ErrorCode.TIMEOUT, Blame.ATTEMPT)
