"""The version of the installed distribution."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """As `promptmill --version` prints it; `unknown` in a folder that was never installed."""
    try:
        return metadata.version("promptmill")
    except metadata.PackageNotFoundError:
        return "unknown"
