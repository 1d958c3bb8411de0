"""The version of Promptmill that is installed."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """The version of the installed distribution; `unknown` in a folder that was never installed."""
    try:
        return metadata.version("promptmill")
    except metadata.PackageNotFoundError:
        return "unknown"
