"""One call to Ollama, as data: what is asked, of which model, within what time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A prompt ready to be sent.

    `prompt` goes to `/api/generate`, `messages` to `/api/chat`, `texts` to `/api/embed`; exactly
    one of them is given.
    `parameters` holds the remaining fields of Ollama's request, as the user gave them
    (`system`, `options`, `format`, `keep_alive`, ...).
    """

    model: str
    prompt: str | None = None
    messages: tuple[Mapping[str, Any], ...] | None = None
    texts: tuple[str, ...] | None = None
    """Texts to embed, each for a vector of its own."""
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    timeout_s: float = 300.0
    """Seconds that the whole call may take, from sending to the last chunk."""
    cut_is_answer: bool = False
    """Whether an answer that was cut at its limit of tokens is one, whatever was asked of it."""
