"""The settings as they are in force, for people: secrets are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from promptmill.settings.fields import Settings
from promptmill.settings.loading import variable_name
from promptmill.settings.values import without_password


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSetting:
    """One setting as it is in force."""

    variable: str
    value: str | float | bool | None
    """None for one that is unset, and for a secret."""
    is_secret: bool
    is_set: bool
    """Whether it has a value; of a secret nothing more is told."""
    is_default: bool
    meaning: str


def list_settings(settings: Settings) -> Sequence[ListedSetting]:
    """Every setting with its value; of secrets and of the database's password there is none."""
    listed: list[ListedSetting] = []
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        shown = without_password(value) if name == "database_url" else value
        is_secret = "SecretStr" in str(field.annotation)
        listed.append(
            ListedSetting(
                variable=variable_name(name),
                value=None if is_secret else shown,
                is_secret=is_secret,
                is_set=value is not None,
                is_default=value == field.get_default(call_default_factory=True, validated_data={}),
                meaning=field.description or "",
            )
        )
    return listed
