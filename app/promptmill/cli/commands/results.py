"""`promptmill results`: the answers of a batch, for people or for programs."""

from __future__ import annotations

import contextlib
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

from promptmill.cli.input.prompts import refuse
from promptmill.cli.output import exit_codes
from promptmill.cli.output.mode import mode
from promptmill.cli.output.terminal import fail, out, say, warn
from promptmill.cli.service.connection import DEFAULT_URL, BatchId, Url, connected
from promptmill.cli.service.naming import batch_named
from promptmill.cli.service.result_following import follow_results
from promptmill.display.texts import duration, one_line
from promptmill.prompts import format_of_output, write_results
from promptmill.rows import TableFormat, UnreadableInput

if TYPE_CHECKING:
    from promptmill.client import Promptmill, Result, ResultFilters

_TABLES: Final = {
    "csv": TableFormat.CSV,
    "parquet": TableFormat.PARQUET,
    "xlsx": TableFormat.XLSX,
}
_FILES_ONLY: Final = frozenset({"parquet", "xlsx"})
_DEFAULT_ROWS: Final = 50
_LONGEST_PROMPT: Final = 160
_LONGEST_ANSWER: Final = 480


class OutputFormat(StrEnum):
    """Formats of results."""

    TABLE = "table"
    """For reading: texts shortened, the first results only."""
    JSONL = "jsonl"
    """All results with all fields, a JSON object per line."""
    CSV = "csv"
    """All results with all fields, a row each, the kept columns first."""
    PARQUET = "parquet"
    """As csv, with types."""
    XLSX = "xlsx"
    """As csv, for Excel."""


class ResultStatus(StrEnum):
    """Outcomes of a prompt."""

    SUCCEEDED = "succeeded"
    """The prompt has an answer."""
    FAILED = "failed"
    """The prompt has an error."""
    CANCELLED = "cancelled"
    """Its batch was cancelled first."""
    EXPIRED = "expired"
    """Its batch's time ran out first."""


def results(
    batch_id: BatchId,
    *,
    output_format: Annotated[
        OutputFormat | None,
        typer.Option(
            "--format",
            help="If not given: what the extension of --output says (.csv, .jsonl, .parquet,"
            " .xlsx); else table on a terminal and jsonl in a pipe.",
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
        int, typer.Option(min=1, help="Most rows of a table; the other formats have all.")
    ] = _DEFAULT_ROWS,
    bom: Annotated[
        bool,
        typer.Option(
            "--bom", help="Begin csv with a byte order mark, by which Excel knows its letters."
        ),
    ] = False,
    expand: Annotated[
        bool,
        typer.Option("--expand", help="Make columns of the fields of answers that are JSON."),
    ] = False,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            help="Print each result when it is there, in the order in which they come, until the"
            " batch has ended; as answers on a terminal, else as jsonl.",
        ),
    ] = False,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="EVENT",
            help="With --follow: only what came after this event, as Ctrl-C tells it; a file of"
            " --output is continued.",
        ),
    ] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Print the finished results of a batch in prompt order, also while it runs."""
    wanted = None if status is None else status.value
    filters: ResultFilters = {"q": grep} if grep else {}
    chosen = _format_for(output, output_format)
    if chosen in _FILES_ONLY and output is None:
        raise typer.BadParameter(f"{chosen} is no text for a pipe; give --output FILE.{chosen}")
    if bom and chosen is not OutputFormat.CSV:
        raise typer.BadParameter(f"--bom is for csv, and this is {chosen}")
    if expand and chosen not in _TABLES:
        raise typer.BadParameter(f"--expand is for {', '.join(_TABLES)}, and this is {chosen}")
    is_filtered = bool(wanted or grep)
    if follow:
        _check_follow(chosen, grep)
        with connected(url) as client:
            follow_results(
                client,
                batch_named(client, batch_id),
                output,
                as_lines=chosen is OutputFormat.JSONL,
                status=wanted,
                after=after,
                url=url,
            )
        return
    if after is not None:
        raise typer.BadParameter("--after is for --follow")
    with connected(url) as client:
        batch_id = batch_named(client, batch_id)
        if chosen is OutputFormat.TABLE:
            _print_table(client, batch_id, status=wanted, limit=limit, filters=filters)
            _tell_partial(client, batch_id, None, is_filtered=is_filtered)
            return
        pieces = client.download_results(batch_id, status=wanted, **filters)
        with (
            contextlib.nullcontext(sys.stdout.buffer)
            if output is None
            else complete_file(output) as file
        ):
            count = _write(pieces, file, chosen, bom=bom, expand=expand)
        if output is not None:
            say(f"Written to {output}.")
        _tell_partial(client, batch_id, count, is_filtered=is_filtered)


def _write(
    pieces: Iterable[bytes],
    file: IO[bytes],
    chosen: OutputFormat,
    *,
    bom: bool,
    expand: bool,
) -> int:
    """Write the results in the format, and count them.

    Raises:
        typer.Exit: The format cannot hold a result.
    """
    count = 0
    if chosen in _TABLES:
        try:
            count = write_results(pieces, file, _TABLES[chosen], mark=bom, expand=expand)
        except UnreadableInput as error:
            refuse(f"cannot write {chosen}", *error.faults)
    else:
        for piece in pieces:
            file.write(piece)
            count += piece.count(b"\n")
    file.flush()
    return count


def _tell_partial(
    client: Promptmill, batch_id: str, written: int | None, *, is_filtered: bool
) -> None:
    """Report that results are missing, because the batch runs or ran during the read."""
    batch = client.get(batch_id)
    counts = batch.counts
    ended = counts.succeeded + counts.failed + counts.cancelled + counts.expired
    if ended < counts.total:
        state = "still runs" if batch.status in {"queued", "running"} else f"is {batch.status}"
        had = ended if written is None or is_filtered else written
        warn(f"{had} of {counts.total}, the batch {state}")
    elif not is_filtered and written is not None and written < counts.total:
        warn(f"{written} of {counts.total}, the batch has ended meanwhile: run this again")


def answers_table(results: Iterable[Result], *, has_ids: bool = False) -> Table:
    """Print results for reading, with texts shortened for the screen."""
    table = Table(show_lines=True, expand=False)
    table.add_column("#", justify="right", no_wrap=True)
    if has_ids:
        table.add_column("id", overflow="fold")
    table.add_column("prompt", ratio=2, overflow="fold")
    table.add_column("answer", ratio=3, overflow="fold")
    table.add_column("took", justify="right", no_wrap=True)
    for result in results:
        if result.success:
            text = f"{len(result.embedding)} numbers" if result.embedding else result.response
            answer = Text(one_line(text, _LONGEST_ANSWER))
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


def _check_follow(chosen: OutputFormat, grep: str | None) -> None:
    if chosen in _TABLES:
        raise typer.BadParameter(
            f"--follow writes jsonl: the columns of {chosen} are known only at the end"
        )
    if grep:
        raise typer.BadParameter("--grep searches what is stored, and --follow tells what comes")


def _format_for(output: Path | None, given: OutputFormat | None) -> OutputFormat:
    """Format that was given, or that the extension stands for.

    Raises:
        typer.BadParameter: The two differ, or there is none.
    """
    if output is None:
        if mode().as_json and given not in {None, OutputFormat.JSONL}:
            raise typer.BadParameter(f"--json prints jsonl, and --format says {given}")
        if mode().as_json:
            return OutputFormat.JSONL
        if given is not None:
            return given
        return OutputFormat.TABLE if sys.stdout.isatty() else OutputFormat.JSONL
    if given is OutputFormat.TABLE:
        raise typer.BadParameter("a table is for the terminal; --output takes the other formats")
    try:
        said = OutputFormat(format_of_output(str(output)))
    except UnreadableInput as error:
        if given is None:
            raise typer.BadParameter(f"{output} {error}; --format says it otherwise") from None
        return given
    if given not in {None, said}:
        raise typer.BadParameter(f"--format says {given}, and {output} ends like {said}")
    return said


def _print_table(
    client: Promptmill,
    batch_id: str,
    *,
    status: str | None,
    limit: int,
    filters: ResultFilters,
) -> None:
    found = client.results(batch_id, status=status, page_size=min(limit + 1, 1000), **filters)
    # One more than shown, to see whether there are more.
    rows = list(islice(found, limit + 1))
    if not rows:
        found_none = "No results yet." if status is None else f"No {status} results."
        say("No result holds that text." if filters else found_none)
        return
    shown = rows[:limit]
    out().print(answers_table(shown, has_ids=any(result.id is not None for result in shown)))
    if len(rows) > limit:
        say(f"The first {limit}; --limit shows more, --format jsonl all of them.")


@contextmanager
def complete_file(path: Path) -> Generator[IO[bytes]]:
    """File that appears at its place when it is complete.

    Raises:
        typer.Exit: The file cannot be written.
    """
    # A broken connection must not leave an incomplete file that looks complete.
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
