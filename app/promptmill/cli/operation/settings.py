"""`promptmill settings`: the settings that a running service has in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from promptmill.cli.output.lists import print_list
from promptmill.cli.output.mode import mode
from promptmill.cli.output.terminal import print_json, say
from promptmill.cli.service.connection import DEFAULT_URL, Url, connected
from promptmill.display.texts import one_line

if TYPE_CHECKING:
    from promptmill.client import Setting


def settings(
    *,
    every: Annotated[
        bool, typer.Option("--all", help="Also show those that have their default.")
    ] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Show the settings that a running service has in force: those that are not the default."""
    with connected(url) as client:
        found = client.settings()
    shown = [one for one in found.settings if every or not one.is_default]
    if mode().as_json:
        for setting in shown:
            print_json(setting)
        return
    if not shown:
        say("Every setting has its default; --all shows them.")
        return
    print_list(
        ["variable", "value", "default"],
        [
            [one.variable, one_line(_value(one), 200), "yes" if one.is_default else ""]
            for one in shown
        ],
    )


def _value(setting: Setting) -> str:
    if setting.is_secret and setting.is_set:
        return "set, not shown"
    if setting.value is None:
        return "unset"
    return str(setting.value).lower() if isinstance(setting.value, bool) else str(setting.value)
