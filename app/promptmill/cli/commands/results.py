"""`promptmill results`: what the model answered, for people or for programs."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from promptmill.cli.output import exit_codes
from promptmill.cli.output.terminal import duration, fail, one_line, out, say
from promptmill.cli.service.connection import DEFAULT_URL, BatchId, Url, connected

if TYPE_CHECKING:
    from promptmill.client import DownloadFormat, Promptmill, Result, ResultFilters

_DEFAULT_ROWS: Final = 50
_LONGEST_PROMPT: Final = 160
_LONGEST_ANSWER: Final = 480


class OutputFormat(StrEnum):
    """How results are written."""

    TABLE = "table"
    """For reading: texts shortened, the first results only."""
    JSONL = "jsonl"
    """All results with all fields, a JSON object per line."""
    CSV = "csv"
    """All results with all fields, a row each."""


class ResultStatus(StrEnum):
    """How a prompt ended."""

    SUCCEEDED = "succeeded"
    """It has an answer."""
    FAILED = "failed"
    """It has an error."""
    CANCELLED = "cancelled"
    """Its batch was cancelled first."""
    EXPIRED = "expired"
    """Its batch's time ran out first."""


_DOWNLOADS: Final[dict[OutputFormat, DownloadFormat]] = {
    OutputFormat.JSONL: "ndjson",
    OutputFormat.CSV: "csv",
}


def results(
    batch_id: BatchId,
    output_format: Annotated[
        OutputFormat | None,
        typer.Option(
            "--format",
            help="If not given: what the extension of --output says; else table on a terminal and"
            " jsonl in a pipe or a file.",
        ),
    ] = None,
    status: Annotated[
        ResultStatus | None, typer.Option(help="Only the results that ended so.")
    ] = None,
    grep: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Only the results that hold this text in prompt, answer, error or id, upper and"
            " lower case alike.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write to this file; it appears when it is complete.",
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, help="Most rows of a table; jsonl and csv always have all.")
    ] = _DEFAULT_ROWS,
    url: Url = DEFAULT_URL,
) -> None:
    """Print the finished results of a batch in prompt order, also while it runs."""
    wanted = None if status is None else status.value
    filters: ResultFilters = {"q": grep} if grep else {}
    if output_format is None:
        output_format = _format_for(output)
    if output_format is OutputFormat.TABLE and output is not None:
        raise typer.BadParameter("a table is for the terminal; --output takes jsonl or csv")
    with connected(url) as client:
        if output_format is OutputFormat.TABLE:
            _print_table(client, batch_id, status=wanted, limit=limit, filters=filters)
            return
        pieces = client.download_results(
            batch_id, format=_DOWNLOADS[output_format], status=wanted, **filters
        )
        if output is None:
            _copy(pieces, sys.stdout.buffer)
            return
        with complete_file(output) as file:
            _copy(pieces, file)
        say(f"Written to {output}.")


def answers_table(results: Iterable[Result], *, has_ids: bool = False) -> Table:
    """Results for reading, texts shortened to what a screen can take."""
    table = Table(show_lines=True, expand=False)
    table.add_column("#", justify="right", no_wrap=True)
    if has_ids:
        table.add_column("id", overflow="fold")
    table.add_column("prompt", ratio=2, overflow="fold")
    table.add_column("answer", ratio=3, overflow="fold")
    table.add_column("took", justify="right", no_wrap=True)
    for result in results:
        if result.success:
            answer = Text(one_line(result.response, _LONGEST_ANSWER))
        else:
            reason = f"{result.error_code or result.status}: {result.error or 'no answer'}"
            answer = Text(one_line(reason, _LONGEST_ANSWER), style="red")
        table.add_row(
            str(result.index),
            *([Text(one_line(result.id, _LONGEST_PROMPT))] if has_ids else []),
            Text(one_line(result.prompt, _LONGEST_PROMPT)),
            answer,
            duration(result.latency_s),
        )
    return table


def _format_for(output: Path | None) -> OutputFormat:
    if output is not None:
        return OutputFormat.CSV if output.suffix.lower() == ".csv" else OutputFormat.JSONL
    return OutputFormat.TABLE if sys.stdout.isatty() else OutputFormat.JSONL


def _print_table(
    client: Promptmill,
    batch_id: str,
    *,
    status: str | None,
    limit: int,
    filters: ResultFilters,
) -> None:
    found = client.results(batch_id, status=status, page_size=min(limit + 1, 1000), **filters)
    # One more than is shown tells whether there are more.
    rows = list(islice(found, limit + 1))
    if not rows:
        found_none = "No results yet." if status is None else f"No {status} results."
        say("No result holds that text." if filters else found_none)
        return
    shown = rows[:limit]
    out().print(answers_table(shown, has_ids=any(result.id is not None for result in shown)))
    if len(rows) > limit:
        say(f"The first {limit}; --limit shows more, --format jsonl all of them.")


def _copy(pieces: Iterable[bytes], target: IO[bytes]) -> None:
    for piece in pieces:
        target.write(piece)
    target.flush()


@contextmanager
def complete_file(path: Path) -> Generator[IO[bytes]]:
    """A file to write, which appears at its place when all of it is there.

    Raises:
        typer.Exit: It cannot be written.
    """
    # A connection that breaks must not leave half a file that looks like a whole one.
    partial = path.with_name(f"{path.name}.part")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        fail(f"cannot write {path}: {error.strerror}")
        raise typer.Exit(exit_codes.REFUSED) from None
    finally:
        partial.unlink(missing_ok=True)
