"""Promptmill: the batch service for Ollama.

`OllamaManager` runs batches and benchmarks in the caller's own process. `Promptmill` and
`AsyncPromptmill` talk to a running service. They are imported at their first use, so that
`import promptmill` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promptmill.client import AsyncPromptmill, Promptmill
    from promptmill.manager import OllamaManager

__all__ = ["AsyncPromptmill", "OllamaManager", "Promptmill"]

_HOMES = {
    "AsyncPromptmill": "promptmill.client",
    "OllamaManager": "promptmill.manager",
    "Promptmill": "promptmill.client",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
