"""Progress of a batch on the command line."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from rich.console import Console

from promptmill.cli.output.mode import mode
from promptmill.display.progress import Bar, Display, Lines
from promptmill.display.texts import local_time, numbers, one_line

if TYPE_CHECKING:
    from promptmill.client import Batch, BatchSummary, Pull

_FAR_S: Final = 30.0
"""Seconds from which on the next try is announced."""


def display_on(console: Console) -> Display:
    """Display that suits the console."""
    if mode().is_quiet:
        return Lines(Console(quiet=True), time.monotonic)
    return Bar(console) if console.is_terminal else Lines(console, time.monotonic)


def show(batch: Batch, display: Display) -> None:
    """Show the state of a batch."""
    counts, awaited = batch.counts, [*pulling(batch), *waiting(batch)]
    words = ", ".join([numbers(batch), *awaited])
    display.draw(batch.status, counts.finished, counts.total, words, news=tuple(awaited))


def at_a_time(batch: Batch) -> str:
    """`max_concurrent` of a batch in words."""
    return f"{batch.max_concurrent} at a time{' (auto)' if batch.auto_concurrency else ''}"


def pulling(batch: BatchSummary) -> list[str]:
    """Downloads that a batch waits for, in words."""
    if batch.has_ended:
        return []
    told: list[str] = []
    for pull in batch.pulls:
        model = one_line(pull.model, 60)
        if pull.host is None:
            told.append(f"{model} waits for a host")
        elif pull.status == "waiting":
            told.append(f"{model} waits to be pulled at {pull.host}")
        elif pull.status == "pulling":
            told.append(f"pulling {model} at {pull.host}{_how_far(pull)}")
    return told


def waiting(batch: BatchSummary) -> list[str]:
    """Reason why a batch waits, in words; empty for a pause or a download."""
    reason = batch.waiting_for
    if reason is None or reason.reason in {"paused", "model_missing"}:
        return []
    # The time of day, not the seconds, so that the same wait is printed once.
    until = "" if reason.until is None or not _is_far(reason.until) else _at(reason.until)
    return [f"waits: {one_line(reason.message, 300)}{until}"]


def _is_far(moment: datetime) -> bool:
    return (moment - datetime.now(UTC)).total_seconds() >= _FAR_S


def _at(moment: datetime) -> str:
    return f"; tried again at {local_time(moment)}"


def _how_far(pull: Pull) -> str:
    if pull.total_bytes and (pull.completed_bytes or 0) < pull.total_bytes:
        return f": {100 * (pull.completed_bytes or 0) // pull.total_bytes} %"
    return f": {one_line(pull.detail, 60)}" if pull.detail else ""
