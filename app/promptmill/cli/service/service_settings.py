"""Settings of the service on the command line: reading, reporting, explaining."""

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
    """Load the settings with options over them; errors end the program."""
    try:
        return load_settings(**overrides)
    except SettingsError as error:
        fail("these settings are wrong", *str(error).splitlines())
        raise typer.Exit(exit_codes.REFUSED) from None


def wanted_log_level() -> str | None:
    """Level of the log for `--quiet` or `--verbose`; None: that of the settings."""
    if mode().is_quiet:
        return "WARNING"
    return "DEBUG" if mode().is_verbose else None


def tell_unknown_variables() -> None:
    """Warn of variables with the prefix of settings that are none, such as misspelt ones."""
    for name, nearest in unknown_variables().items():
        meant = f"; did you mean {nearest}?" if nearest else ""
        warn(f"warning: {name} is no setting of Promptmill{meant}")


def settings_table() -> Table:
    """List every setting with its environment variable, default and meaning."""
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
    """Default of a setting for display."""
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, bool):
        return str(value).lower()
    return "unset" if value is None else str(value)
