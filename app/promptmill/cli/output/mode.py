"""Verbosity and format of commands: `--quiet`, `--verbose` and `--json`.

Every command has the options, with the same meaning. Only commands that run until they are stopped
lack `--json`, because they have no result.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any, Final

import typer

_PANEL: Final = "Output"
_Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", help="Say nothing but errors and warnings.", rich_help_panel=_PANEL
    ),
]
_Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", help="Also say what is asked of others.", rich_help_panel=_PANEL
    ),
]
_Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print JSON: one thing as an object, a list as an object a line; an error as a problem"
        " document on stderr.",
        rich_help_panel=_PANEL,
    ),
]
_OPTIONS: Final[dict[str, Any]] = {"is_quiet": _Quiet, "is_verbose": _Verbose, "as_json": _Json}


@dataclass(frozen=True, slots=True)
class Mode:
    """Values of the options."""

    is_quiet: bool = False
    """Whether stderr has only errors and warnings."""
    is_verbose: bool = False
    """Whether stderr also has the requests to the service."""
    as_json: bool = False
    """Whether stdout has JSON, and stderr errors as problem documents."""


_PLAIN: Final = Mode()
_mode: ContextVar[Mode] = ContextVar("_mode", default=_PLAIN)


def mode() -> Mode:
    """Options of the running command."""
    return _mode.get()


def set_mode(wanted: Mode) -> None:
    """Set the options of the running command."""
    _mode.set(wanted)


def with_output_options(
    command: Callable[..., None], *, has_json: bool = True
) -> Callable[..., None]:
    """Command with the options of this file beside its own."""
    options = {name: each for name, each in _OPTIONS.items() if has_json or each is not _Json}

    @wraps(command)
    def run(*arguments: Any, **given: Any) -> None:  # noqa: ANN401 - those of the command
        set_mode(Mode(**{name: given.pop(name) for name in options}))
        command(*arguments, **given)

    signature = inspect.signature(command, eval_str=True)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=each)
        for name, each in options.items()
    ]
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *added])  # pyright: ignore[reportAttributeAccessIssue] - read by `inspect`
    run.__annotations__ = {**command.__annotations__, **options}
    return run
