"""Parsing of settings' values: lists, home folders, the default database."""

from __future__ import annotations

from pathlib import Path

import platformdirs


def default_database_url() -> str:
    """URL of a SQLite file in the platform's folder for user data."""
    folder = Path(platformdirs.user_data_dir("promptmill", appauthor=False))
    return f"sqlite:///{folder / 'promptmill.db'}"


def with_home(database_url: str) -> str:
    """Replace a `~` in a database URL by the home folder, as a shell would."""
    path = database_url.removeprefix("sqlite:///")
    if path == database_url or not path.startswith("~"):
        return database_url
    try:
        return f"sqlite:///{Path(path).expanduser()}"
    except RuntimeError:
        raise ValueError("names a home folder that is not known; write the whole path") from None


def entries(text: str) -> list[str]:
    """Split a comma-separated text, and strip each entry."""
    return [entry.strip() for entry in text.split(",") if entry.strip()]
