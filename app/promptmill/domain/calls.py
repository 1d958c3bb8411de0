"""Record of one call to Ollama: prompt, model, parameters and time limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Prompt ready to be sent.

    `prompt` goes to `/api/generate`, `messages` to `/api/chat`, `texts` to `/api/embed`; exactly
    one is given. `parameters` holds the other fields of Ollama's request, as the user gave them
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
    """Whether an answer cut at its limit of tokens counts as an answer, whatever `fail_on` says."""
