"""Data of the charts of a batch and of one prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import quantiles
from typing import Final

from promptmill.dashboard.charts import Bar, Chart, Span, bars, histogram, lines
from promptmill.dashboard.charts import waterfall as draw_waterfall
from promptmill.dashboard.wording import duration, number
from promptmill.domain.batches import Batch, TaskResult
from promptmill.domain.reading import BatchFindings, EarlierAttempt

_NANO: Final = 1e9
_FEW: Final = 2
_PARTS: Final = (("p50", 49, 2), ("p95", 94, 20), ("p99", 98, 100))
"""Percentiles: the place among the hundred cuts, and the least number of values."""
_DAY_S: Final = 86_400


def of_progress(found: BatchFindings) -> Sequence[Chart]:
    """Finished prompts over time, and who answered them."""
    curve = [(at_ms / 1000, float(done)) for at_ms, done in found.curve]
    if curve:
        first_done = min(1.0, curve[0][1])
        curve.insert(0, (curve[0][0], first_done))
    span_s = curve[-1][0] - curve[0][0] if curve else 0.0
    form = "%d %b %H:%M" if span_s > _DAY_S else "%H:%M" if span_s > 600 else "%H:%M:%S"  # noqa: PLR2004 - ten minutes

    def clock(at_s: float) -> str:
        return datetime.fromtimestamp(at_s, UTC).strftime(form)

    drawn = [
        lines(
            "Prompts with an outcome, over time (UTC)",
            [("", curve)] if len(curve) >= _FEW else [],
            x_words=clock,
            y_words=number,
            names=("time", "prompts"),
            filled=True,
        )
    ]
    for title, names in (
        ("Answers by host", [one.host for one in found.sample]),
        ("Answers by model", [one.model for one in found.sample]),
    ):
        drawn.append(_shares(title, [name for name in names if name], found))
    return [chart for chart in drawn if chart is not None]


def _shares(title: str, names: Sequence[str], found: BatchFindings) -> Chart | None:
    counted = Counter(names).most_common(12)
    if len(counted) < _FEW:
        return None  # All of them from one place: that is said elsewhere.
    whole = len(names)
    return bars(
        title,
        [Bar(name=name, value=100 * count / whole) for name, count in counted],
        words=lambda value: f"{value:.0f} %",
        column="share",
        note=_note(found),
    )


def of_latency(found: BatchFindings) -> Sequence[Chart]:
    """Charts of the latency, of the time to the first token, and of the length of answers."""
    drawn = [
        histogram("Time of the whole answer", _latencies(found), words=duration, note=_note(found)),
        histogram(
            "Time to the first token",
            [one.ttft_s for one in found.sample if one.succeeded and one.ttft_s is not None],
            words=duration,
            note=_note(found),
        ),
        histogram(
            "Tokens of an answer",
            [float(one.tokens) for one in found.sample if one.succeeded and one.tokens is not None],
            words=number,
            note=_note(found),
        ),
    ]
    return [chart for chart in drawn if chart is not None]


def _latencies(found: BatchFindings) -> list[float]:
    return [one.latency_s for one in found.sample if one.succeeded and one.latency_s is not None]


def _note(found: BatchFindings) -> str:
    if len(found.sample) >= found.of:
        return ""
    return f"Of an even sample of {number(len(found.sample))} of {number(found.of)} results."


def figures(found: BatchFindings) -> Sequence[tuple[str, str]]:
    """Percentiles of the latency, those that there are enough values for."""
    values = sorted(_latencies(found))
    if len(values) < _FEW:
        return [(name, duration(None)) for name, _, _ in _PARTS]
    cuts = quantiles(values, n=100, method="inclusive")
    return [
        (name, duration(cuts[place] if len(values) >= least else None))
        for name, place, least in _PARTS
    ]


def waterfall(batch: Batch, result: TaskResult | None) -> Chart | None:
    """Chart of one prompt's time, from the batch's creation to the end of the answer."""
    if result is None or result.started_at_ms is None:
        return None
    metrics = result.metrics
    waited_s = max(result.started_at_ms - batch.created_at_ms, 0) / 1000
    took_s = metrics.latency_s
    if took_s is None:
        took_s = max(result.finished_at_ms - result.started_at_ms, 0) / 1000
    load_s, read_s, write_s = (
        None if nanoseconds is None else nanoseconds / _NANO
        for nanoseconds in (
            metrics.load_duration,
            metrics.prompt_eval_duration,
            metrics.eval_duration,
        )
    )
    known_s = sum(part for part in (load_s, read_s, write_s) if part is not None)
    total_s = None if metrics.total_duration is None else metrics.total_duration / _NANO
    at_host_s = None if total_s is None else max(total_s - known_s, 0.0)
    parts = (
        ("model loads", load_s, "load"),
        ("waits at the host", at_host_s, "host"),
        ("prompt is read", read_s, "read"),
        ("answer is written", write_s, "write"),
    )
    spans: list[Span] = []
    place = 0.0
    for name, part_s, kind in parts:
        if part_s:
            spans.append(Span(name=name, begin_s=place, took_s=part_s, kind=kind))
            place += part_s
    rest_s = took_s - place
    if rest_s > 0:
        name = "way and waiting" if spans else "no counters: the whole call"
        spans.append(Span(name=name, begin_s=place, took_s=rest_s, kind="rest"))
    chart = draw_waterfall(
        "Where the time of the last attempt went",
        spans,
        words=duration,
        ttft_s=None if metrics.ttft_s is None else min(metrics.ttft_s, max(took_s, place)),
    )
    if chart is None:
        return None
    return Chart(
        title=chart.title,
        svg=chart.svg,
        columns=chart.columns,
        rows=[("waited in the queue before", duration(waited_s)), *chart.rows],
        note=f"Before it: {duration(waited_s)} in the queue since the batch was created."
        + (
            f" {result.attempts} attempts were made; this is the last."
            if result.attempts > 1
            else ""
        ),
    )


def of_attempts(earlier: Sequence[EarlierAttempt], result: TaskResult | None) -> Chart | None:
    """All attempts of a prompt on one scale, and the waits between them; None for a single one."""
    begun = [one for one in earlier if one.started_at_ms is not None]
    if not begun:
        return None
    calls = [
        (f"attempt {one.number}", one.started_at_ms, one.ended_at_ms, "failed") for one in begun
    ]
    if result is not None and result.started_at_ms is not None:
        calls.append(("the last one", result.started_at_ms, result.finished_at_ms, "write"))
    first_ms = calls[0][1] or 0
    spans: list[Span] = []
    last_ms = first_ms
    for name, began_ms, ended_ms, kind in calls:
        begin_ms = max(began_ms or 0, last_ms)
        if begin_ms > last_ms:
            wait_s = (begin_ms - last_ms) / 1000
            begin_s = (last_ms - first_ms) / 1000
            spans.append(Span(name="waits", begin_s=begin_s, took_s=wait_s, kind="waiting"))
        last_ms = max(ended_ms, begin_ms)
        took_s = (last_ms - begin_ms) / 1000
        begin_s = (begin_ms - first_ms) / 1000
        spans.append(Span(name=name, begin_s=begin_s, took_s=took_s, kind=kind))
    return draw_waterfall("All attempts", spans, words=duration)
