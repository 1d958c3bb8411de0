"""Showing how something goes: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from promptmill.cli.output.mode import mode
from promptmill.display.texts import duration, local_time, one_line

if TYPE_CHECKING:
    from promptmill.client import Batch, Pull

_ENDINGS: Final = {1: "st", 2: "nd", 3: "rd"}
_FAR_S: Final = 30.0
"""Seconds from which it is worth telling when something is tried again."""
_LINE_EVERY_S: Final = 5.0
"""Seconds between two lines where there is no terminal."""


class Display(ABC):
    """Something that shows what is under way."""

    every_s: ClassVar[float]
    """How often it wants to see that, in seconds."""

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def show(self, batch: Batch) -> None:
        """A batch as it stands."""
        counts, awaited = batch.counts, [*pulling(batch), *waiting(batch)]
        words = ", ".join([numbers(batch), *awaited])
        self.draw(batch.status, counts.finished, counts.total, words, news=tuple(awaited))

    @abstractmethod
    def draw(
        self, status: str, done: int, total: int, numbers: str, *, news: tuple[str, ...] = ()
    ) -> None:
        """Whatever it is: its status, how much of it is done, and that in words.

        `news` is what of these words is worth telling where nothing more is done.
        """

    @abstractmethod
    def note(self, line: str) -> None:
        """Something besides: a connection lost, a connection found again."""


def display_on(console: Console) -> Display:
    """The display that suits the console."""
    if mode().is_quiet:
        return Lines(Console(quiet=True), time.monotonic)
    return Bar(console) if console.is_terminal else Lines(console, time.monotonic)


class Bar(Display):
    """A progress bar; it redraws itself in place."""

    every_s = 0.25

    def __init__(self, console: Console) -> None:
        # The numbers are what a narrow terminal keeps; the bar takes what is left.
        self._progress = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=4)),
            TextColumn("{task.fields[numbers]}", table_column=Column(no_wrap=True)),
            console=console,
            expand=True,
        )
        self._task = self._progress.add_task("connecting", total=None, numbers="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def draw(
        self, status: str, done: int, total: int, numbers: str, *, news: tuple[str, ...] = ()
    ) -> None:
        """The state of things, in the bar's place."""
        del news
        self._progress.update(
            self._task, description=status, total=total, completed=done, numbers=numbers
        )

    def note(self, line: str) -> None:
        """A line above the bar."""
        self._progress.console.print(line)


class Lines(Display):
    """Plain lines for logs and pipes: when the status changes, and every few seconds of work."""

    every_s = 1.0

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._console = console
        self._clock = clock
        self._shown: tuple[str, int, tuple[str, ...]] | None = None
        self._shown_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def draw(
        self, status: str, done: int, total: int, numbers: str, *, news: tuple[str, ...] = ()
    ) -> None:
        """The state of things, if there is something new to say."""
        del total
        now, state = self._clock(), (status, done, news)
        is_new = self._shown is None or self._shown[0] != state[0]
        if is_new or (state != self._shown and now - self._shown_at >= _LINE_EVERY_S):
            self._console.print(f"{status}: {numbers}")
            self._shown, self._shown_at = state, now

    def note(self, line: str) -> None:
        """A line of its own."""
        self._console.print(line)


def at_a_time(batch: Batch) -> str:
    """Its `max_concurrent` in words."""
    return f"{batch.max_concurrent} at a time{' (auto)' if batch.auto_concurrency else ''}"


def pulling(batch: Batch) -> list[str]:
    """What is pulled for a batch that waits for it, in words."""
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


def waiting(batch: Batch) -> list[str]:
    """What a batch waits for, in words; nothing for a pause, which `status` says, or a download."""
    reason = batch.waiting_for
    if reason is None or reason.reason in {"paused", "model_missing"}:
        return []
    # The time of day and not the seconds, so that the same wait is told once.
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


def numbers(batch: Batch) -> str:
    """Done, failed, place in the queue, rate and remaining time on one line."""
    counts = batch.counts
    parts = [f"{counts.finished}/{counts.total}"]
    parts += [
        f"{count} {name}"
        for name, count in (
            ("failed", counts.failed),
            ("cancelled", counts.cancelled),
            ("expired", counts.expired),
        )
        if count
    ]
    if batch.queue_position is not None:
        parts.append(f"{_ordinal(batch.queue_position)} in the queue")
    if batch.prompts_per_s is not None:
        parts.append(f"{batch.prompts_per_s:.3g}/s")
    if batch.eta_s is not None and not batch.has_ended:
        # What has not started yet is foretold, and not measured.
        about = "about " if batch.queue_position is not None else ""
        parts.append(f"{about}{duration(batch.eta_s)} left")
    return ", ".join(parts)


def _ordinal(number: int) -> str:
    """`1st`, `2nd`, `3rd`, `4th`, `11th`."""
    ending = "th" if number % 100 in {11, 12, 13} else _ENDINGS.get(number % 10, "th")
    return f"{number}{ending}"
