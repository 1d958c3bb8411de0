"""Answers of a batch as they arrive: `promptmill run` and `promptmill results --follow`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from promptmill.cli.output.mode import mode
from promptmill.cli.output.progress import pulling, waiting
from promptmill.cli.output.terminal import err, fail, print_json, say
from promptmill.display.texts import numbers, one_line, printable

if TYPE_CHECKING:
    from rich.status import Status

    from promptmill.client import BatchSummary, Promptmill, Result

_LONGEST_PROMPT: Final = 100


class Spinner:
    """Progress of the batch on the last line of a terminal; elsewhere only what it waits for."""

    def __init__(self, status: Status | None) -> None:
        self._status = status
        self._told: set[str] = set()

    def show(self, batch: BatchSummary) -> None:
        """Show the state of the batch."""
        awaited = [*pulling(batch), *waiting(batch)]
        if self._status is not None:
            self._status.update(one_line(", ".join([batch.status, numbers(batch), *awaited]), 400))
            return
        for sentence in awaited:
            # A download's share changes at each event, so only its beginning is printed.
            news = sentence.partition(": ")[0] if sentence.startswith("pulling") else sentence
            if news not in self._told:
                self._told.add(news)
                say(news)

    @contextmanager
    def aside(self) -> Generator[None]:
        """Clear the terminal's last line while the block prints."""
        if self._status is not None:
            self._status.stop()
        yield
        sys.stdout.flush()
        if self._status is not None:
            self._status.start()


@contextmanager
def spinner() -> Generator[Spinner]:
    """Spinner on stderr."""
    console = err()
    if mode().is_quiet or not console.is_terminal:
        yield Spinner(None)
        return
    with console.status("connecting") as status:
        yield Spinner(status)


def follow_answers(
    client: Promptmill,
    batch_id: str,
    take: Callable[[Result, str], None],
    *,
    after: str | None = None,
) -> BatchSummary:
    """Pass each result to `take` as it arrives, with the id of its event; return the ended batch.

    `after` is the id of an event: only later results are passed.
    """
    from promptmill.client import EndEvent, ResultEvent  # noqa: PLC0415 - with the first request

    with spinner() as shown:
        for event in client.events(batch_id, results=True, last_event_id=after):
            if isinstance(event, ResultEvent):
                with shown.aside():
                    take(event.result, event.id)
            elif isinstance(event, EndEvent):
                return event.batch
            else:
                shown.show(event.batch)
    return client.get(batch_id)


class InOrder:
    """Results in the order of their prompts, each as soon as those before it have arrived."""

    def __init__(self, take: Callable[[Result], None]) -> None:
        self._take = take
        self._next = 0
        self._early: dict[int, Result] = {}

    def add(self, result: Result, event_id: str) -> None:
        """Pass on the next results in order, and keep the others."""
        del event_id
        self._early[result.index] = result
        while self._next in self._early:
            self._take(self._early.pop(self._next))
            self._next += 1


def print_answer(result: Result, *, total: int) -> None:
    """Print an answer to stdout, with several below its prompt on stderr; a failure to stderr.

    On a terminal the answer's control characters are escaped; a pipe gets the text unchanged.
    """
    if mode().as_json:
        print_json(result)
        return
    if total > 1:
        say(f"{result.index + 1}. {one_line(result.prompt, _LONGEST_PROMPT)}", style="bold")
    if result.success:
        answer = result.response or ""
        gap = "\n" if result.index + 1 < total else ""
        # Not by `typer.echo`, which removes colours from text for a pipe.
        sys.stdout.write(f"{printable(answer) if sys.stdout.isatty() else answer}\n{gap}")
    else:
        place = f"prompt {result.index + 1}: " if total > 1 else ""
        fail(f"{place}{result.error_code or result.status}: {result.error or 'no answer'}")
