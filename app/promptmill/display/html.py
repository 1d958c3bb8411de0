"""Records as HTML for notebooks: without scripts, every text escaped.

Answers of models are untrusted. Every value goes through `text`, or an answer could run a script in
the notebook that shows it.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any, Final

from promptmill.display.texts import numbers, printable

_MOST_CHARACTERS: Final = 300
_CELL: Final = "text-align:left;vertical-align:top;white-space:pre-wrap;max-width:40em"
_GROUND: Final = "display:inline-block;width:16em;height:.8em;background:#8884;border-radius:.2em"
_FILLED: Final = "display:block;height:100%;background:#2e7d32;border-radius:.2em"


def text(value: object, most: int = _MOST_CHARACTERS) -> str:
    """Escape a value as text in HTML, cut at `most` characters; None is shown as a dash."""
    shown = "-" if value is None else str(value)
    shown = shown if len(shown) <= most else f"{shown[: most - 1]}…"
    return html.escape(printable(shown))


def bar(title: str, status: str, done: int, total: int, words: str) -> str:
    """Progress bar with a title before it and words behind it."""
    share = 100 * done / total if total else 0
    return (
        f'<div><b>{text(title)}</b> {text(status)} <span style="{_GROUND}">'
        f'<span style="{_FILLED};width:{share:.1f}%"></span></span> {text(words)}</div>'
    )


def table(header: Sequence[str], rows: Iterable[Sequence[object]], note: str = "") -> str:
    """Table with a note below; long texts are cut."""
    head = "".join(f'<th style="{_CELL}">{text(name)}</th>' for name in header)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{text(cell)}</td>' for cell in row) + "</tr>"
        for row in rows
    )
    below = f"<p>{text(note)}</p>" if note else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"


def batch(record: Any) -> str:  # noqa: ANN401 - of a layer above
    """A batch: its progress, and the reason why it does not advance."""
    waits = f", waits: {record.waiting_for.message}" if record.waiting_for is not None else ""
    counts, words = record.counts, numbers(record) + waits
    return bar(f"Batch {record.id}", record.status, counts.finished, counts.total, words)


def results(records: Sequence[Any], note: str = "") -> str:
    """Results of a batch: each prompt with its answer or error."""
    rows = [
        (
            one.index,
            one.id,
            one.prompt,
            one.response if one.success else f"{one.error_code or one.status}: {one.error}",
            None if one.latency_s is None else f"{one.latency_s:.2f} s",
        )
        for one in records
    ]
    return table(("#", "id", "prompt", "answer", "took"), rows, note)


def benchmark(record: Any) -> str:  # noqa: ANN401 - of a layer above
    """A benchmark: its progress, and the figures of each model and level."""
    rows = [
        (
            result.model,
            level.concurrency,
            *_of_distribution(level.latency_s, "s"),
            *_of_distribution(level.ttft_s, "s")[:1],
            *_of_distribution(level.decode_tokens_per_sec, "")[:1],
            level.n_ok,
            level.n_failed,
        )
        for result in record.results.values()
        for level in result.levels
    ]
    counts = record.counts
    done = counts.succeeded + counts.failed
    words = f"{done}/{counts.total}"
    head = bar(f"Benchmark {record.id}", record.status, done, counts.total, words)
    header = ("model", "at a time", "latency p50", "p95", "first text", "tokens/s", "ok", "failed")
    return head + (table(header, rows, record.error or "") if rows else "")


def _of_distribution(found: Any, unit: str) -> tuple[str | None, str | None]:  # noqa: ANN401
    def shown(value: float | None) -> str | None:
        return None if value is None else f"{value:.3g} {unit}".strip()

    return shown(found.p50), shown(found.p95)
