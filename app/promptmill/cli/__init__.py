"""The command line: `promptmill`. One file per command; `docs/cli.md` is its manual.

The rule to know: a command's module is imported when the command is run, or when help lists all of
them. What is slow to load (httpx, the settings, the service itself) is imported inside the function
that needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

_SERVICE: Final = "The service"
_BATCHES: Final = "Batches"
_BENCHMARKS: Final = "Benchmarks"

COMMANDS: Final = {
    "demo": ("demo:demo", _SERVICE),
    "serve": ("serve:serve", _SERVICE),
    "worker": ("worker:worker", _SERVICE),
    "workers": ("workers:workers", _SERVICE),
    "hosts": ("hosts:hosts", _SERVICE),
    "simulate": ("simulate:simulate", _SERVICE),
    "db": ("db:db", _SERVICE),
    "submit": ("submit:submit", _BATCHES),
    "watch": ("watch:watch", _BATCHES),
    "results": ("results:results", _BATCHES),
    "list": ("batches:list_batches", _BATCHES),
    "show": ("batches:show", _BATCHES),
    "pause": ("control:pause", _BATCHES),
    "resume": ("control:resume", _BATCHES),
    "retry": ("control:retry", _BATCHES),
    "set": ("control:set_limits", _BATCHES),
    "cancel": ("batches:cancel", _BATCHES),
    "delete": ("batches:delete", _BATCHES),
    "models": ("models:models", _BATCHES),
    "bench": ("bench:bench", _BENCHMARKS),
}
"""Where each command is, below `cli.commands`, and its panel in the help; in the help's order."""


_WITH_SETTINGS: Final = frozenset({"serve", "worker"})
"""Commands whose help has the table of settings."""


class LazyCommands(TyperGroup):
    """The commands of `COMMANDS`, each imported when it is asked for."""

    @property
    def commands(self) -> dict[str, Any]:
        """All of them, imported: for guesses at a misspelt name, and for tests."""
        return {name: self.get_command(None, name) for name in COMMANDS}

    @commands.setter
    def commands(self, value: object) -> None:
        del value  # Typer found none: none is registered.

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - Typer's own copy of Click
        """The names, without importing anything."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - as above
        """The command of that name; None if there is none."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        place, panel = COMMANDS[cmd_name]
        module, name = place.split(":")
        loaded = getattr(import_module(f"promptmill.cli.commands.{module}"), name)
        app = typer.Typer(add_completion=False)
        if isinstance(loaded, typer.Typer):
            app.add_typer(loaded, name=cmd_name, rich_help_panel=panel)
            return typer.main.get_group(app).commands[cmd_name]
        kind = None
        if cmd_name in _WITH_SETTINGS:
            from promptmill.cli.commands.serve import ServeCommand as kind  # noqa: N813, PLC0415
        app.command(cmd_name, rich_help_panel=panel, cls=kind)(loaded)
        return typer.main.get_command(app)


cli = typer.Typer(
    name="promptmill",
    cls=LazyCommands,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        from promptmill.cli.commands.version import version  # noqa: PLC0415

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
) -> None:
    """A durable batch service for Ollama: thousands of prompts, none of them lost.

    `promptmill demo` shows everything in half a minute, with or without an Ollama.
    """


def main() -> None:
    """The entry point `promptmill`."""
    cli(prog_name="promptmill")
