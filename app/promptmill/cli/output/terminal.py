"""Output to the terminal: results on stdout, messages on stderr.

Messages go through `promptmill.display.texts.printable`, because they contain untrusted text.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import typer

from promptmill.cli.output.mode import mode
from promptmill.display.texts import printable

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console

    from promptmill.client import Batch, Benchmark

_PIPED_WIDTH: Final = 160
"""Columns of a table for a file or another program; rich would use 80."""


def out(*, piped_width: int = _PIPED_WIDTH) -> Console:
    """Console of stdout, for results; `piped_width` applies without a terminal."""
    from rich.console import Console  # noqa: PLC0415 - slow to load, as everywhere here

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = piped_width
    return console


def err() -> Console:
    """Console of stderr, for progress, hints and errors."""
    from rich.console import Console  # noqa: PLC0415

    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    # A terminal wraps at words; a log gets each sentence on one line.
    console.soft_wrap = not console.is_terminal
    return console


def say(line: str, *, style: str | None = None) -> None:
    """Print a line to stderr, unless the command is quiet."""
    if not mode().is_quiet:
        _print(line, style)


def hint(command: str, what: str = "") -> None:
    """Print a suggested command to stderr with its effect, unless the command is quiet.

    The command stays on one line, so that it can be copied.
    """
    from rich.text import Text  # noqa: PLC0415

    if mode().is_quiet:
        return
    console = err()
    line = f"  {command}   {what}".rstrip()
    is_split = what and console.is_terminal and len(line) > console.width
    for part in (f"  {command}", f"    {what}") if is_split else (line,):
        console.print(Text(printable(part), style="dim"), soft_wrap=True)


def warn(line: str) -> None:
    """Print a warning to stderr: something was left out, or is incomplete."""
    _print(line, "yellow")


def _print(line: str, style: str | None) -> None:
    from rich.text import Text  # noqa: PLC0415

    err().print(Text(printable(line), style=style or ""))


def print_json(value: BaseModel | Mapping[str, Any]) -> None:
    """Print an object to stdout on one line; a record with the fields that were sent."""
    is_plain = isinstance(value, Mapping)
    typer.echo(json.dumps(value) if is_plain else value.model_dump_json(exclude_unset=True))


def print_one(thing: Batch | Benchmark) -> None:
    """Print a created object to stdout: its id alone, or with `--json` all of it."""
    if mode().as_json:
        print_json(thing)
    else:
        typer.echo(thing.id)
    # Flushed, so that a reader of the pipe can use it while this command waits.
    sys.stdout.flush()


def fail(line: str, *details: str, problem: Mapping[str, Any] | None = None) -> None:
    """Print an error to stderr: what happened, and details below.

    With `--json` it is a problem document (RFC 9457): `problem`, or one made of these lines.
    """
    from rich.text import Text  # noqa: PLC0415

    if mode().as_json:
        told = {"detail": "\n".join(details)} if details else {}
        document = problem or {"type": "about:blank", "title": line, **told}
        typer.echo(json.dumps(document), err=True)
        return
    console = err()
    console.print(Text.assemble(("error: ", "bold red"), printable(line)))
    for detail in details:
        console.print(Text(f"  {printable(detail)}"))
