"""The HTTP API; `build_api` builds its application."""

from promptmill.api.application import build_api

__all__ = ["build_api"]
