"""Records as HTML for notebooks: without scripts, every text escaped.

Answers of models are untrusted. Every value goes through `text`, or an answer could run a script in
the notebook that shows it.
"""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from promptmill.display.texts import duration, printable
from promptmill.display.texts import numbers as progress_of

_MOST_CHARACTERS: Final = 300
_CELL: Final = "text-align:left;vertical-align:top;white-space:pre-wrap;max-width:40em"
_NUMBER: Final = "text-align:right;vertical-align:top;white-space:nowrap"
_FAILED: Final = "color:#d32f2f"
"""Red that can be read on white and on black."""
_QUIET: Final = "opacity:.65"
_LINE: Final = "display:flex;align-items:center;gap:.6em"
_GROUND: Final = "flex:none;width:16em;height:.8em;background:#8884;border-radius:.2em"
_FILLED: Final = "display:block;height:100%;background:#2e7d32;border-radius:.2em"


def text(value: object, most: int = _MOST_CHARACTERS) -> str:
    """Escape a value as text in HTML, cut at `most` characters; None is shown as a dash."""
    shown = "-" if value is None else str(value)
    shown = shown if len(shown) <= most else f"{shown[: most - 1]}…"
    return html.escape(printable(shown))


def bar(title: str, status: str, done: int, total: int, words: str) -> str:
    """Progress bar with words behind it, below a line with title and status."""
    share = 100 * done / total if total else 0
    return (
        f'<div><b>{text(title)}</b> <span style="{_QUIET}">{text(status)}</span></div>'
        f'<div style="{_LINE}"><span style="{_GROUND}">'
        f'<span style="{_FILLED};width:{share:.1f}%"></span></span>'
        f"<span>{text(words)}</span></div>"
    )


class Failure(str):
    """Text of a cell that tells of a failure."""

    __slots__ = ()


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    note: str = "",
    *,
    numbers: Collection[str] = (),
) -> str:
    """Table with a note below; long texts are cut, and the columns `numbers` end alike."""
    styles = [_NUMBER if name in numbers else _CELL for name in header]

    def cell(tag: str, style: str, value: object) -> str:
        color = f";{_FAILED}" if isinstance(value, Failure) else ""
        return f'<{tag} style="{style}{color}">{text(value)}</{tag}>'

    def cells(tag: str, row: Sequence[object]) -> str:
        return "".join(cell(tag, *pair) for pair in zip(styles, row, strict=True))

    head = cells("th", header)
    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    below = f'<p style="{_QUIET}">{text(note)}</p>' if note else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"


def batch(record: Any) -> str:  # noqa: ANN401 - of a layer above
    """A batch: its progress, and the reason why it does not advance."""
    waits = f", waits: {record.waiting_for.message}" if record.waiting_for is not None else ""
    counts, words = record.counts, progress_of(record) + waits
    title = f"{record.label} ({record.id})" if record.label else record.id
    return bar(title, record.status, counts.finished, counts.total, words)


def results(records: Sequence[Any], note: str = "") -> str:
    """Results of a batch: each prompt with its answer or error."""
    rows = [
        (
            one.index,
            one.id,
            one.prompt,
            one.response if one.success else _failure(one),
            None if one.latency_s is None else duration(one.latency_s),
        )
        for one in records
    ]
    if not rows:
        return f'<p style="{_QUIET}">No results yet.</p>'
    return table(("#", "id", "prompt", "answer", "took"), rows, note, numbers=("#", "took"))


def _failure(record: Any) -> Failure:  # noqa: ANN401 - of a layer above
    return Failure(f"{record.error_code or record.status}: {record.error or 'no answer'}")


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
            Failure(level.n_failed) if level.n_failed else 0,
        )
        for result in record.results.values()
        for level in result.levels
    ]
    counts = record.counts
    done = counts.succeeded + counts.failed
    words = f"{done}/{counts.total}"
    head = bar(record.id, record.status, done, counts.total, words)
    header = ("model", "at a time", "latency p50", "p95", "first text", "tokens/s", "ok", "failed")
    return head + (table(header, rows, record.error or "", numbers=header[1:]) if rows else "")


def _of_distribution(found: Any, unit: str) -> tuple[str | None, str | None]:  # noqa: ANN401
    def shown(value: float | None) -> str | None:
        return None if value is None else f"{value:.3g} {unit}".strip()

    return shown(found.p50), shown(found.p95)
