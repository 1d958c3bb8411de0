"""The command line `promptmill`: one file per command; `docs/cli.md` is its manual.

A command's module is imported when the command is run, or when help lists all commands. Slow
modules (httpx, the settings, the service itself) are imported inside the functions that need them.
"""

from __future__ import annotations

import io
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from promptmill.cli.output import exit_codes
from promptmill.cli.output.mode import Mode, mode, set_mode, with_output_options
from promptmill.cli.output.terminal import fail
from promptmill.cli.service.connection import ApiKeyFile, use_key_file

_SERVICE: Final = "The service"
_BATCHES: Final = "Batches"
_BENCHMARKS: Final = "Benchmarks"

COMMANDS: Final = {
    "demo": ("commands.demo:demo", _SERVICE),
    "serve": ("commands.serve:serve", _SERVICE),
    "worker": ("commands.worker:worker", _SERVICE),
    "workers": ("commands.workers:workers", _SERVICE),
    "hosts": ("commands.hosts:hosts", _SERVICE),
    "simulate": ("commands.simulate:simulate", _SERVICE),
    "doctor": ("operation.doctor:doctor", _SERVICE),
    "settings": ("operation.settings:settings", _SERVICE),
    "db": ("operation.db:db", _SERVICE),
    "keys": ("operation.keys:keys", _SERVICE),
    "run": ("commands.run:run", _BATCHES),
    "submit": ("commands.submit:submit", _BATCHES),
    "watch": ("commands.watch:watch", _BATCHES),
    "results": ("commands.results:results", _BATCHES),
    "list": ("commands.batches:list_batches", _BATCHES),
    "show": ("commands.batches:show", _BATCHES),
    "pause": ("commands.control:pause", _BATCHES),
    "resume": ("commands.control:resume", _BATCHES),
    "retry": ("commands.control:retry", _BATCHES),
    "set": ("commands.control:set_limits", _BATCHES),
    "cancel": ("commands.batches:cancel", _BATCHES),
    "delete": ("commands.batches:delete", _BATCHES),
    "models": ("commands.models:models", _BATCHES),
    "bench": ("commands.bench:bench", _BENCHMARKS),
}
"""Modules of the commands, below `cli`, with their panels in the help; in the help's order."""


_WITH_SETTINGS: Final = frozenset({"serve", "worker"})
"""Commands whose help includes the table of settings."""


_WITHOUT_ANSWER: Final = frozenset({"demo", "serve", "simulate", "worker"})
"""Commands that run until they are stopped, and so have no result to print as JSON."""


class LazyCommands(TyperGroup):
    """Commands of `COMMANDS`, each imported when it is used.

    Arguments that are not UTF-8 are refused before any command runs.
    """

    @property
    def commands(self) -> dict[str, Any]:
        """All commands, imported: for guesses at a misspelt name, and for tests."""
        return {name: self.get_command(None, name) for name in COMMANDS}

    @commands.setter
    def commands(self, value: object) -> None:
        del value  # Typer found none: none is registered.

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - Typer's own copy of Click
        """Names of the commands, without importing them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - as above
        """The command of a name; None without such a command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        place, panel = COMMANDS[cmd_name]
        module, name = place.split(":")
        loaded = getattr(import_module(f"promptmill.cli.{module}"), name)
        app = typer.Typer(add_completion=False)
        if isinstance(loaded, typer.Typer):
            app.add_typer(loaded, name=cmd_name, rich_help_panel=panel)
            return typer.main.get_group(app).commands[cmd_name]
        loaded = with_output_options(loaded, has_json=cmd_name not in _WITHOUT_ANSWER)
        kind = None
        if cmd_name in _WITH_SETTINGS:
            from promptmill.cli.commands.serve import ServeCommand as kind  # noqa: N813, PLC0415
        app.command(cmd_name, rich_help_panel=panel, cls=kind)(loaded)
        return typer.main.get_command(app)

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # pyright: ignore[reportIncompatibleMethodOverride] - Typer's context is click's
        """Refuse arguments that JSON cannot hold; names of files may be any bytes."""
        for argument in args:
            try:
                argument.encode()
            except UnicodeEncodeError:
                if not _is_file(argument):
                    shown = argument.encode(errors="backslashreplace").decode()
                    raise typer.BadParameter(f"{shown} is not UTF-8", ctx) from None
        # Wrong usage is reported before a command's own options are read.
        set_mode(Mode(as_json="--json" in args))
        return super().parse_args(ctx, args)

    def invoke(self, ctx: typer.Context) -> Any:  # noqa: ANN401  # pyright: ignore[reportIncompatibleMethodOverride] - as above
        """Run the command; with `--json` wrong usage is reported as a problem document."""
        try:
            return super().invoke(ctx)
        except TyperException as error:
            if not mode().as_json:
                raise
            fail("Wrong usage", str(error.format_message()))
            raise typer.Exit(exit_codes.REFUSED) from None


def _is_file(name: str) -> bool:
    try:
        return Path(name).exists()
    except (OSError, ValueError):
        return False


cli = typer.Typer(
    name="promptmill",
    cls=LazyCommands,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        from promptmill.version import version  # noqa: PLC0415

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

    `promptmill run MODEL 'Why is the sky blue?'` prints the answer.

    `promptmill demo` shows everything in half a minute, with or without an Ollama.
    """
    del show_version  # The option's callback has printed the version.
    use_key_file(api_key_file)


def main() -> None:
    """Run the command that the program's arguments name."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal or pipe that is not UTF-8 gets `?` for what its encoding lacks.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    cli(prog_name="promptmill")
