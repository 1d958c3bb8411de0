"""The service's settings, as the command line reads them, reports them and explains them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from pydantic_core import PydanticUndefined
from rich.table import Table
from rich.text import Text

from promptmill.cli.output import exit_codes
from promptmill.cli.output.mode import mode
from promptmill.cli.output.terminal import fail, warn
from promptmill.settings import (
    Settings,
    SettingsError,
    load_settings,
    unknown_variables,
    variable_name,
)

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


def checked_settings(**overrides: Any) -> Settings:  # noqa: ANN401 - whatever an option holds
    """The settings of the environment with options over them; what is wrong ends the program."""
    try:
        return load_settings(**overrides)
    except SettingsError as error:
        fail("these settings are wrong", *str(error).splitlines())
        raise typer.Exit(exit_codes.REFUSED) from None


def wanted_log_level() -> str | None:
    """The level of the log that `--quiet` or `--verbose` ask for; None: what the settings say."""
    if mode().is_quiet:
        return "WARNING"
    return "DEBUG" if mode().is_verbose else None


def tell_unknown_variables() -> None:
    """Warn of variables that begin like a setting and are none: a typo would else pass silently."""
    for name, nearest in unknown_variables().items():
        meant = f"; did you mean {nearest}?" if nearest else ""
        warn(f"warning: {name} is no setting of Promptmill{meant}")


def settings_table() -> Table:
    """Every setting with its environment variable, default and meaning, out of `Settings`."""
    table = Table(title="Settings from the environment", title_justify="left", box=None)
    table.add_column("variable", overflow="fold")
    table.add_column("default", overflow="fold")
    table.add_column("meaning")
    for name, field in Settings.model_fields.items():
        table.add_row(
            Text(variable_name(name), style="bold"),
            Text(default_text(field)),
            Text(field.description or ""),
        )
    return table


def default_text(field: FieldInfo) -> str:
    """A setting's default for people."""
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, bool):
        return str(value).lower()
    return "unset" if value is None else str(value)
