"""Loading of the settings from the environment, and their table for the documentation."""

from __future__ import annotations

from pydantic import AliasChoices, ValidationError

from promptmill.settings.fields import Settings

_FOREIGN_NAMES = frozenset({"OLLAMA_HOST", "OLLAMA_API_KEY", "DATABASE_URL"})


class SettingsError(Exception):
    """Error of wrong settings; the message names each setting and what it accepts."""


def variable_name(field: str) -> str:
    """Environment variable of a field."""
    alias = Settings.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return f"PROMPTMILL_{field.upper()}"


def load_settings(**overrides: object) -> Settings:
    """Load settings from the environment; `overrides` (command-line options) take precedence.

    Raises:
        SettingsError: One line for each wrong setting, naming its variable.
    """
    given = {name: value for name, value in overrides.items() if value not in {None, ""}}
    if "ollama_host" in given:
        # Options precede variables: a host given as an option replaces the list in the environment.
        given.setdefault("ollama_hosts", None)
    try:
        return Settings(**given)  # pyright: ignore[reportArgumentType] - checked by pydantic
    except ValidationError as error:
        lines: list[str] = []
        for problem in error.errors():
            field = str(problem["loc"][0]) if problem["loc"] else "settings"
            name = field if field in _FOREIGN_NAMES else variable_name(field)
            lines.append(f"{name}: {problem['msg'].removeprefix('Value error, ')}")
        raise SettingsError("\n".join(lines)) from None


def settings_page() -> str:
    """Format the settings as a Markdown table, for `docs/settings.md`."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.get_default()
        shown = "unset" if default is None else str(default).lower()
        if name == "database_url":
            shown = "a SQLite file in the user's data folder"
        lines.append(f"| `{variable_name(name)}` | {shown} | {field.description} |")
    return "\n".join(lines) + "\n"
