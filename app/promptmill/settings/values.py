"""Parsing of settings' values: lists, home folders, addresses, the default database."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Final

import platformdirs

_PASSWORD_IN_URL: Final = re.compile(r"(?P<before>://[^/@]*?:)[^@]*(?=@)")
_PASSWORD_IN_QUERY: Final = re.compile(r"(?P<before>[?&](?:ssl)?password=)[^&]*")


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
    """Split a comma-separated text, and strip each entry."""
    return [entry.strip() for entry in text.split(",") if entry.strip()]


def without_password(url: str) -> str:
    """A database URL that may be shown."""
    return _PASSWORD_IN_QUERY.sub(r"\g<before>***", _PASSWORD_IN_URL.sub(r"\g<before>***", url))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
