"""Usage limits (429): models that a host refuses for a while, as the host or a proxy says.

A limit applies to one model of one host. Until it ends no call for the model is made there, so that
a batch of a thousand prompts costs one refusal and not a thousand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from promptmill.domain.model_names import normalise_model
from promptmill.domain.outcomes import Blame, Failed, Outcome, Succeeded

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 300.0
"""First and longest wait without a `Retry-After`; each wait is twice the one before."""
LONGEST_TOLD_S = 86_400.0
"""Longest wait by a `Retry-After`, unless the settings say otherwise."""
_MODELS_KEPT = 64


def retry_after_s(value: str | None, *, date: str | None = None) -> float | None:
    """Seconds of a `Retry-After` header; None if it is missing or malformed.

    It is a number, or a moment in HTTP's format, which counts from the response's own `Date`,
    because the host's clock may differ.
    """
    text = (value or "").strip()
    if text and text.isascii() and text.replace(".", "", 1).isdigit():
        seconds = float(text)
    else:
        moment = _moment(text)
        if moment is None:
            return None
        seconds = (moment - (_moment(date or "") or datetime.now(UTC))).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class UsageLimit:
    """Model that its host refuses."""

    failed: Failed
    """Refusal of the host."""
    until: float
    """Moment at which the model may be called again, by the host's clock."""
    waits: int
    """Number of waits since the model's last answer."""


class UsageLimits:
    """Usage limits of one host, by the models' normalised names."""

    def __init__(self, longest_told_s: float = LONGEST_TOLD_S) -> None:
        self._longest_told_s = longest_told_s
        self._limits: dict[str, UsageLimit] = {}

    @property
    def standing(self) -> Mapping[str, UsageLimit]:
        """Limits that no answer has ended, even if their wait is over."""
        return self._limits

    def refusal(self, model: str, *, now: float) -> Failed | None:
        """Refusal to return for a call for the model now; None if the call may be made."""
        limit = self._limits.get(normalise_model(model))
        if limit is None or limit.until <= now:
            return None
        return replace(limit.failed, retry_after_s=limit.until - now)

    def after_call(self, outcome: Outcome, *, model: str, now: float) -> Outcome:
        """Note the outcome of a call; a refusal is returned with its wait."""
        name = normalise_model(model)
        known = self._limits.get(name)
        if isinstance(outcome, Succeeded):
            # Calls in flight when the limit began may still succeed.
            if known is not None and known.until <= now:
                del self._limits[name]
            return outcome
        if outcome.blame is not Blame.LIMIT:
            return outcome
        is_news = known is None or known.until <= now
        waits = (known.waits if known else 0) + is_news
        told_s = outcome.retry_after_s
        if told_s is not None and told_s >= FIRST_WAIT_S:
            wait_s = min(told_s, self._longest_told_s)
        else:
            wait_s = min(FIRST_WAIT_S * 2 ** min(waits - 1, 16), LONGEST_WAIT_S)
        until = now + wait_s if known is None else max(now + wait_s, known.until)
        if name not in self._limits and len(self._limits) >= _MODELS_KEPT:
            del self._limits[next(iter(self._limits))]
        self._limits[name] = UsageLimit(failed=outcome, until=until, waits=waits)
        return replace(outcome, retry_after_s=until - now)
