"""The command line: `promptmill`. One file per command; `docs/cli.md` is its manual.

The rule to know: this package loads in a tenth of a second, because every command pays for it. What
is slow to load (httpx, the settings, the service itself) is imported inside the function that needs
it.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from promptmill.cli.commands.batches import cancel, delete, list_batches, show
from promptmill.cli.commands.bench import bench
from promptmill.cli.commands.control import pause, resume, retry, set_limits
from promptmill.cli.commands.db import db
from promptmill.cli.commands.demo import demo
from promptmill.cli.commands.hosts import hosts
from promptmill.cli.commands.models import models
from promptmill.cli.commands.results import results
from promptmill.cli.commands.serve import ServeCommand, serve
from promptmill.cli.commands.simulate import simulate
from promptmill.cli.commands.submit import submit
from promptmill.cli.commands.version import version
from promptmill.cli.commands.watch import watch
from promptmill.cli.commands.worker import worker
from promptmill.cli.commands.workers import workers
from promptmill.cli.operation.doctor import doctor
from promptmill.cli.operation.keys import keys
from promptmill.cli.service.connection import ApiKeyFile, use_key_file

_SERVICE = "The service"
_BATCHES = "Batches"
_BENCHMARKS = "Benchmarks"


class _Arguments(TyperGroup):
    """The commands; arguments whose bytes are no text end before any of them runs."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # pyright: ignore[reportIncompatibleMethodOverride] - Typer's context is click's
        """Refuse what cannot be sent in JSON; names of files may be any bytes."""
        for argument in args:
            try:
                argument.encode()
            except UnicodeEncodeError:
                if not _is_file(argument):
                    shown = argument.encode(errors="backslashreplace").decode()
                    raise typer.BadParameter(f"{shown} is not UTF-8", ctx) from None
        return super().parse_args(ctx, args)


def _is_file(name: str) -> bool:
    try:
        return Path(name).exists()
    except (OSError, ValueError):
        return False


cli = typer.Typer(
    name="promptmill",
    cls=_Arguments,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"promptmill {version()}")
        raise typer.Exit


@cli.callback()
def promptmill(
    *,
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
    api_key_file: ApiKeyFile = None,
) -> None:
    """A durable batch service for Ollama: thousands of prompts, none of them lost.

    `promptmill demo` shows everything in half a minute, with or without an Ollama.
    """
    del show_version  # Its callback has printed it.
    use_key_file(api_key_file)


cli.command(rich_help_panel=_SERVICE)(demo)
cli.command(rich_help_panel=_SERVICE, cls=ServeCommand)(serve)
cli.command(rich_help_panel=_SERVICE, cls=ServeCommand)(worker)
cli.command(rich_help_panel=_SERVICE)(workers)
cli.command(rich_help_panel=_SERVICE)(hosts)
cli.command(rich_help_panel=_SERVICE)(simulate)
cli.command(rich_help_panel=_SERVICE)(doctor)
cli.add_typer(db, rich_help_panel=_SERVICE)
cli.add_typer(keys, rich_help_panel=_SERVICE)

cli.command(rich_help_panel=_BATCHES)(submit)
cli.command(rich_help_panel=_BATCHES)(watch)
cli.command(rich_help_panel=_BATCHES)(results)
cli.command("list", rich_help_panel=_BATCHES)(list_batches)
cli.command(rich_help_panel=_BATCHES)(show)
cli.command(rich_help_panel=_BATCHES)(pause)
cli.command(rich_help_panel=_BATCHES)(resume)
cli.command(rich_help_panel=_BATCHES)(retry)
cli.command("set", rich_help_panel=_BATCHES)(set_limits)
cli.command(rich_help_panel=_BATCHES)(cancel)
cli.command(rich_help_panel=_BATCHES)(delete)
cli.command(rich_help_panel=_BATCHES)(models)

cli.command(rich_help_panel=_BENCHMARKS)(bench)


def main() -> None:
    """The entry point `promptmill`."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal or pipe that is not UTF-8 gets `?` for what its encoding lacks.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    cli(prog_name="promptmill")
