"""Formatting of numbers, moments and untrusted texts in reports, and explanations of the flags."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pydantic_core import to_json

from promptmill.domain.benchmarks.records import Flag
from promptmill.domain.benchmarks.statistics import Interval

MISSING: Final = "-"
"""Sign for a missing value, never 0."""
MISSING_TEXT: Final = (
    "Not known, or too few runs to say: a standard deviation takes 2 of them, p90 takes 10,"
    " p95 takes 20, p99 takes 100. It is never a zero."
)
FLAG_TEXTS: Final[Mapping[Flag, str]] = {
    Flag.NO_DONE: "A stream ended without a last piece that says done. The run failed.",
    Flag.TOO_FEW_TOKENS: "An answer has fewer than 16 tokens; it stays out of all rates.",
    Flag.MODEL_RELOADED: "The model was loaded within a run; the run stays out of all times"
    " and rates.",
    Flag.PREFIX_CACHE_HIT: "Ollama had the beginning of a prompt in its cache, so it had less"
    " to evaluate.",
    Flag.CACHE_UNKNOWN: "How much of a prompt was cached is not known, so there is no prefill"
    " rate.",
    Flag.PROMPT_TRUNCATED: "Ollama cut a prompt to its context window without saying so.",
    Flag.IMPOSSIBLE_RATE: "A host told a rate that no machine reaches; it stays out of the rates.",
    Flag.SHORT_OUTPUT: "An answer ended by itself before half of num_predict: less work than"
    " was asked for.",
    Flag.PARTIAL_OFFLOAD: "A part of the model runs on the processor, the rest on a graphics card.",
    Flag.SERVER_SERIALISED: "The host worked on one request at a time although more were in"
    " flight.",
    Flag.DRIFT: "The values rose or fell over the order of the runs, as when a machine heats up.",
    Flag.HIGH_VARIANCE: "The latencies vary by more than 10 % (standard deviation over mean).",
    Flag.TOO_FEW_RUNS: "Fewer than five good runs: too few for a comparison by ranks.",
    Flag.VERSION_CHANGED: "Ollama's version or the model's digest changed in the middle.",
    Flag.REMOTE_MODEL: "The host passes the model's calls on to another server, which is what"
    " was measured.",
}
"""Explanation of each flag, one line for new readers."""

_SIGNIFICANT: Final = 4
_MOST_DECIMALS: Final = 6
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def number(value: float | None) -> str:
    """Format a measured value with four significant digits; whole numbers of counts stay whole."""
    if value is None:
        return MISSING
    if isinstance(value, int) or not value:
        return f"{value:g}" if isinstance(value, float) else str(value)
    size = math.floor(math.log10(abs(value)))
    return f"{value:.{min(max(_SIGNIFICANT - 1 - size, 0), _MOST_DECIMALS)}f}"


def percent(share: float | None) -> str:
    """Format a share of 0 to 1 in percent."""
    return MISSING if share is None else f"{share * 100:.1f} %"


def interval(found: Interval | None) -> str:
    """Format an interval."""
    return MISSING if found is None else f"{number(found.low)} to {number(found.high)}"


def p_value(value: float | None) -> str:
    """Format a probability; very small ones are given as a bound."""
    if value is None:
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"  # noqa: PLR2004 - beyond it, digits say nothing


def moment(milliseconds: int | None) -> str:
    """Format a moment in UTC, to the second."""
    if milliseconds is None:
        return MISSING
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def size(amount: int | None) -> str:
    """Format bytes in GB of 10^9, as Ollama prints them."""
    return MISSING if amount is None else f"{number(amount / 1e9)} GB"


def given(value: object) -> str:
    """Format a value as it was given: texts unchanged, others as JSON, None as `-`."""
    if value is None:
        return MISSING
    return value if isinstance(value, str) else json_text(value)


def json_text(value: Any) -> str:  # noqa: ANN401 - whatever JSON can say
    """Format the value as JSON on one line."""
    return to_json(value, fallback=str).decode()


def one_line(text: str, most: int = 300) -> str:
    """Put a text on one line of bounded length, without control characters.

    Control characters and those that change the direction of writing become U+FFFD.
    """
    line = " ".join(_UNPRINTABLE.sub("\ufffd", text[: 4 * most]).split())
    if len(line) <= most and len(text) <= 4 * most:
        return line
    return f"{line[:most].rstrip()}… ({len(text)} characters)"
