"""The HTTP API: `build_api` makes the application; each file below has one role in it."""

from promptmill.api.application import build_api

__all__ = ["build_api"]
