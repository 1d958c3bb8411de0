"""Variables of the environment that are settings, and those that only look like them."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from promptmill.settings.fields import Settings
from promptmill.settings.loading import variable_name

_PREFIX: Final = "PROMPTMILL_"
_OF_CLIENTS: Final = frozenset({"PROMPTMILL_URL", "PROMPTMILL_API_KEY", "PROMPTMILL_API_KEY_FILE"})
"""Read by the command line, not by the service."""


def given_variables(environment: Mapping[str, str] | None = None) -> Sequence[str]:
    """The names of the service's variables that are set, without their values."""
    found = os.environ if environment is None else environment  # noqa: TID251 - only their names
    known = {variable_name(field) for field in Settings.model_fields}
    return sorted(name for name in found if name in known)


def unknown_variables(environment: Mapping[str, str] | None = None) -> Mapping[str, str | None]:
    """The variables that begin like the service's and are none, each with the nearest known one."""
    found = os.environ if environment is None else environment  # noqa: TID251 - only their names
    known = {variable_name(field) for field in Settings.model_fields} | _OF_CLIENTS
    ends = {name.removeprefix(_PREFIX): name for name in known}
    nearest: dict[str, str | None] = {}
    for name in sorted(found):
        if name.startswith(_PREFIX) and name not in known:
            close = get_close_matches(name.removeprefix(_PREFIX), ends, n=1, cutoff=0.7)
            nearest[name] = ends[close[0]] if close else None
    return nearest


def given_proxies(environment: Mapping[str, str] | None = None) -> Sequence[str]:
    """The names of the proxy variables that are set, without their values."""
    found = os.environ if environment is None else environment  # noqa: TID251 - only their names
    return sorted(name for name in found if name.lower().endswith("_proxy") and found[name])


def readable_key_file() -> Path | None:
    """The file of PROMPTMILL_API_KEY_FILE, if others than its owner may read it."""
    name = os.environ.get("PROMPTMILL_API_KEY_FILE")  # noqa: TID251 - of the command line
    path = Path(name) if name else None
    if path is None or not path.exists() or sys.platform == "win32":
        return None
    return path if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH) else None
