"""Displays of progress: a bar on a terminal or in a notebook, lines elsewhere."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar, Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from promptmill.display import html

_LINE_EVERY_S: Final = 5.0
"""Seconds between two lines where there is no terminal."""


class Display(ABC):
    """Context manager that shows the progress of a batch, a benchmark or a call."""

    every_s: ClassVar[float]
    """Seconds between two calls of `draw`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(  # noqa: B027 - most displays need no end
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the last state on the display."""

    @abstractmethod
    def draw(
        self, status: str, done: int, total: int, numbers: str, *, news: tuple[str, ...] = ()
    ) -> None:
        """Show the status, `done` of `total`, and the figures in words.

        `news` is a part of the words that `Lines` prints even if `done` has not changed.
        """

    @abstractmethod
    def note(self, line: str) -> None:
        """Show a separate line, such as that the connection was lost."""


def display_here() -> Display:
    """Choose the display that suits the program: notebook, terminal, or lines on stderr."""
    shell = sys.modules.get("IPython")
    if shell is not None and hasattr(shell.get_ipython(), "kernel"):
        return NotebookBar()
    console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    return Bar(console) if console.is_terminal else Lines(console, time.monotonic)


class Bar(Display):
    """Progress bar that is redrawn in place."""

    every_s = 0.25

    def __init__(self, console: Console) -> None:
        # On a narrow terminal the numbers keep their width, and the bar shrinks.
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
        """Redraw the bar."""
        del news
        self._progress.update(
            self._task, description=status, total=total, completed=done, numbers=numbers
        )

    def note(self, line: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(line)


class Lines(Display):
    """Plain lines for logs and pipes, printed when the status changes and every few seconds."""

    every_s = 1.0

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._console = console
        self._clock = clock
        self._shown: tuple[str, int, tuple[str, ...]] | None = None
        self._shown_at = 0.0

    def draw(
        self, status: str, done: int, total: int, numbers: str, *, news: tuple[str, ...] = ()
    ) -> None:
        """Print a line if the status, the figures or the news have changed."""
        del total
        now, state = self._clock(), (status, done, news)
        is_new = self._shown is None or self._shown[0] != state[0]
        if is_new or (state != self._shown and now - self._shown_at >= _LINE_EVERY_S):
            self._console.print(f"{status}: {numbers}")
            self._shown, self._shown_at = state, now

    def note(self, line: str) -> None:
        """Print a separate line."""
        self._console.print(line)


class NotebookBar(Display):
    """Progress bar below a notebook cell; a saved notebook holds the bar's last state."""

    every_s = 0.5

    def __init__(self) -> None:
        from IPython import display  # noqa: PLC0415 - there only in a notebook

        self._library: Any = display
        self._handle: Any = None

    def __enter__(self) -> Self:
        self._handle = self._library.display(self._library.HTML(""), display_id=True)
        return self

    def draw(
        self, status: str, done: int, total: int, numbers: str, *, news: tuple[str, ...] = ()
    ) -> None:
        """Redraw the bar."""
        del news
        self._handle.update(self._library.HTML(html.bar("", status, done, total, numbers)))

    def note(self, line: str) -> None:
        """Show a line below the bar."""
        self._library.display(self._library.HTML(f"<div>{html.text(line)}</div>"))
