"""Values of settings: lists, home folders, and where the database is by default."""

from __future__ import annotations

from pathlib import Path

import platformdirs


def default_database_url() -> str:
    """A SQLite file in the platform's folder for a user's data."""
    folder = Path(platformdirs.user_data_dir("promptmill", appauthor=False))
    return f"sqlite:///{folder / 'promptmill.db'}"


def with_home(database_url: str) -> str:
    """The URL with the home folder in the place of a `~`, which only a shell would replace."""
    path = database_url.removeprefix("sqlite:///")
    if path == database_url or not path.startswith("~"):
        return database_url
    try:
        return f"sqlite:///{Path(path).expanduser()}"
    except RuntimeError:
        raise ValueError("names a home folder that is not known; write the whole path") from None


def bare(text: str) -> str:
    """The text without the spaces and the one pair of quotation marks around it.

    A shell takes both away, Docker's `--env-file` and lists in compose files do not.
    """
    text = text.strip()
    inside = text[1:-1]
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and text[0] not in inside:
        return inside.strip()
    return text


def entries(text: str) -> list[str]:
    """What stands between commas, without spaces around it."""
    return [entry.strip() for entry in text.split(",") if entry.strip()]
