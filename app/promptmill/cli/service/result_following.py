"""Results as they arrive, to the terminal or a file: `promptmill results --follow`."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import typer

from promptmill.cli.output import exit_codes
from promptmill.cli.output.answers import follow_answers, print_answer
from promptmill.cli.output.terminal import fail, hint, say, warn
from promptmill.cli.service.connection import command_for

if TYPE_CHECKING:
    from promptmill.client import Promptmill, Result


def follow_results(
    client: Promptmill,
    batch_id: str,
    output: Path | None,
    *,
    as_lines: bool,
    status: str | None,
    after: str | None,
    url: str,
) -> None:
    """Write each result as it arrives, until the batch has ended.

    Raises:
        typer.Exit: The file cannot be written, or Ctrl-C ended the command; stderr says how to
            continue.
    """
    last = after
    total = client.get(batch_id).counts.total

    def take(result: Result, event_id: str) -> None:
        nonlocal last
        if status is None or result.status == status:
            if file is not None:
                file.write(result.model_dump_json(exclude_unset=True).encode() + b"\n")
                file.flush()
            elif as_lines:
                typer.echo(result.model_dump_json(exclude_unset=True))
            else:
                print_answer(result, total=total)
        last = event_id

    with _appended(output, is_continued=after is not None) as file:
        try:
            ended = follow_answers(client, batch_id, take, after=after)
        except KeyboardInterrupt:
            options = f" --after {last}" if last else ""
            options += f" --status {status}" if status else ""
            options += f" -o {output}" if output else ""
            warn("Not following any more; the batch goes on.")
            hint(command_for(f"results {batch_id} --follow{options}", url), "goes on here")
            raise typer.Exit(exit_codes.INTERRUPTED) from None
    if output is not None:
        say(f"Written to {output}.")
    say(f"{batch_id} {ended.status}: {ended.counts.finished} of {ended.counts.total}")


@contextmanager
def _appended(output: Path | None, *, is_continued: bool) -> Generator[IO[bytes] | None]:
    """File that others can read while it grows."""
    if output is None:
        yield None
        return
    try:
        with output.open("ab" if is_continued else "wb") as file:
            yield file
    except OSError as error:
        fail(f"cannot write {output}: {error.strerror}")
        raise typer.Exit(exit_codes.REFUSED) from None
