"""Writing to the terminal: results go to stdout, everything said about them to stderr.

What is said goes through `promptmill.display.texts.printable`, for much of it is foreign text.
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
"""Columns of a table that goes to a file or another program; rich would take 80."""


def out(*, piped_width: int = _PIPED_WIDTH) -> Console:
    """Stdout, for what was asked for; `piped_width` holds where there is no terminal."""
    from rich.console import Console  # noqa: PLC0415 - slow to load, as everywhere here

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = piped_width
    return console


def err() -> Console:
    """Stderr, for progress, hints and errors."""
    from rich.console import Console  # noqa: PLC0415

    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    # A terminal gets whole words on its lines, a log each sentence on one line.
    console.soft_wrap = not console.is_terminal
    return console


def say(line: str, *, style: str | None = None) -> None:
    """One line to stderr, unless the command is quiet."""
    if not mode().is_quiet:
        _print(line, style)


def hint(command: str, what: str = "") -> None:
    """A command to be typed next to stderr, unless the command is quiet, and what it does.

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
    """One line to stderr that nobody should miss: something was left out, or is not all there."""
    _print(line, "yellow")


def _print(line: str, style: str | None) -> None:
    from rich.text import Text  # noqa: PLC0415

    err().print(Text(printable(line), style=style or ""))


def print_json(value: BaseModel | Mapping[str, Any]) -> None:
    """One thing to stdout, as an object on one line; a record with the fields that were sent."""
    is_plain = isinstance(value, Mapping)
    typer.echo(json.dumps(value) if is_plain else value.model_dump_json(exclude_unset=True))


def print_one(thing: Batch | Benchmark) -> None:
    """What was made to stdout: its id alone, or with `--json` all of it."""
    if mode().as_json:
        print_json(thing)
    else:
        typer.echo(thing.id)
    # Whoever reads it from a pipe can use it while this command still waits.
    sys.stdout.flush()


def fail(line: str, *details: str, problem: Mapping[str, Any] | None = None) -> None:
    """An error to stderr: what happened, and below it what is known about it.

    With `--json` it is a problem document (RFC 9457): `problem`, or one of these lines.
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
