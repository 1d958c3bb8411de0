"""Models that a host turns away for a while (429): until when, as the host or a proxy says it.

A limit is for one model of one host. Until it ends no call for the model is made there, so that a
batch of a thousand prompts costs one refusal and not a thousand.
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
"""The first and the longest wait where nobody says how long; each is twice the one before."""
LONGEST_TOLD_S = 86_400.0
"""The longest wait that a `Retry-After` may ask for unless the settings say otherwise."""
_MODELS_KEPT = 64


def retry_after_s(value: str | None, *, date: str | None = None) -> float | None:
    """Seconds that a `Retry-After` header asks for; None when it is missing or makes no sense.

    It is a number, or a moment as HTTP writes it, which counts from the answer's own `Date`: the
    host's clock may be another one.
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
    """A model that its host turns away."""

    failed: Failed
    """What the host said."""
    until: float
    """When the model may be asked for again, by the host's clock."""
    waits: int
    """Waits since the model last answered."""


class UsageLimits:
    """The limits of one host, by the normalised names of the models."""

    def __init__(self, longest_told_s: float = LONGEST_TOLD_S) -> None:
        self._longest_told_s = longest_told_s
        self._limits: dict[str, UsageLimit] = {}

    @property
    def standing(self) -> Mapping[str, UsageLimit]:
        """The limits that no answer has ended; the wait of some may be over."""
        return self._limits

    def refusal(self, model: str, *, now: float) -> Failed | None:
        """What the host would say to a call for the model now; None: it may answer."""
        limit = self._limits.get(normalise_model(model))
        if limit is None or limit.until <= now:
            return None
        return replace(limit.failed, retry_after_s=limit.until - now)

    def after_call(self, outcome: Outcome, *, model: str, now: float) -> Outcome:
        """Note how a call ended; a refusal is returned with the wait that follows from it."""
        name = normalise_model(model)
        known = self._limits.get(name)
        if isinstance(outcome, Succeeded):
            # What was under way when the limit came may still be answered.
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
