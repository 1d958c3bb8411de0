"""What a failure of a call can mean: a code for the user, and whose fault the failure is."""

from __future__ import annotations

from dataclasses import dataclass

from promptmill.domain.outcomes import Blame, ErrorCode


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a failure means: the code that the user sees, and whose fault it is."""

    code: ErrorCode
    blame: Blame


REFUSED = Verdict(ErrorCode.HOST_REFUSED, Blame.REFUSAL)
MODEL_REFUSED = Verdict(ErrorCode.HOST_REFUSED, Blame.PROMPT)
NO_MODEL = Verdict(ErrorCode.MODEL_NOT_FOUND, Blame.PROMPT)
INVALID = Verdict(ErrorCode.INVALID_REQUEST, Blame.PROMPT)
BUSY = Verdict(ErrorCode.SERVER_BUSY, Blame.HOST)
GONE = Verdict(ErrorCode.HOST_UNREACHABLE, Blame.HOST)
NO_UPSTREAM = Verdict(ErrorCode.HOST_UNREACHABLE, Blame.GATEWAY)
PROXY_LATE = Verdict(ErrorCode.TIMEOUT, Blame.GATEWAY)
LIMITED = Verdict(ErrorCode.SERVER_BUSY, Blame.LIMIT)
BROKEN = Verdict(ErrorCode.HOST_UNREACHABLE, Blame.ATTEMPT)
CUT = Verdict(ErrorCode.INCOMPLETE, Blame.ATTEMPT)
ERROR = Verdict(ErrorCode.SERVER_ERROR, Blame.ATTEMPT)
UNUSABLE = Verdict(ErrorCode.SERVER_ERROR, Blame.PROMPT)
NOT_CONNECTED = Verdict(ErrorCode.TIMEOUT, Blame.HOST)
LATE = Verdict(ErrorCode.TIMEOUT, Blame.ATTEMPT)
