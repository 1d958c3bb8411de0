"""Data of the charts of throughput over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from promptmill.dashboard.charts import Chart, lines
from promptmill.dashboard.wording import one_line, rate
from promptmill.domain.hosts.activity import DAY_S, Bucket, Throughput

_LONGEST_NAME: Final = 40
_EVERYTHING: Final = "all"


def of_throughput(found: Throughput) -> Sequence[Chart]:
    """Prompts and tokens per second; none while nothing ended in the window."""
    if not any(one.succeeded.prompts for each in found.series for one in each.buckets):
        return []
    drawn = (
        _rates("Prompts per second (UTC)", found, lambda one: one.succeeded.prompts, "prompts/s"),
        _rates(
            "Tokens written per second (UTC)",
            found,
            lambda one: one.succeeded.completion_tokens,
            "tokens/s",
        ),
    )
    return [chart for chart in drawn if chart is not None]


def _rates(
    title: str, found: Throughput, count: Callable[[Bucket], int], column: str
) -> Chart | None:
    series = [
        (
            one_line(each.name or _EVERYTHING, _LONGEST_NAME),
            [
                (float(one.at_s), count(one) / seconds)
                for one in each.buckets
                if (seconds := _seconds_of(one, found)) is not None
            ],
        )
        for each in found.series
    ]
    form = "%d %b" if found.window.length_s > 3 * DAY_S else "%H:%M"
    if DAY_S < found.window.length_s <= 3 * DAY_S:
        form = "%a %H:%M"
    return lines(
        title,
        series,
        x_words=lambda at_s: datetime.fromtimestamp(at_s, UTC).strftime(form),
        y_words=_plain,
        names=("time", column),
        filled=len(series) == 1,
    )


def _plain(value: float) -> str:
    """A rate without zeros that say nothing: `3`, `0.25`, `1 250`."""
    return rate(value) if value >= 1_000 else f"{value:.3g}"  # noqa: PLR2004 - groups of digits


def _seconds_of(bucket: Bucket, found: Throughput) -> int | None:
    """Seconds that the interval has lasted; None if too short for a rate."""
    lasted_s = found.read_at_s - bucket.at_s
    width_s = found.window.bucket_s
    if lasted_s >= width_s:
        return width_s
    return lasted_s if lasted_s > width_s / 2 else None
