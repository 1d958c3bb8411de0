"""Prefix groups: prompts with the same beginning, which a host evaluates once.

Ollama's runner keeps the evaluated tokens of the last prompt in each slot, and evaluates of the
next prompt only what follows their common beginning (`cache_prompt` of llama.cpp's server). With a
long system prompt, or a document before each question, that is most of the work.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final

from promptmill.domain.batches import PromptDraft

PREFIX_CHARS: Final = 512
"""Characters of a beginning, about 130 tokens: prompts that share them form a prefix group."""
FEWEST_ALIKE: Final = 4
"""The fewest prompts that form a prefix group."""


def beginning_of(draft: PromptDraft, parameters: Mapping[str, Any]) -> str | None:
    """First characters that the model reads: the system prompt, then the prompt.

    `parameters` are the batch's; the prompt's own take precedence. None if there are fewer than
    `PREFIX_CHARS`, or if images come first.
    """
    own = draft.overrides
    if own is None:
        if "images" in parameters:
            return None
        return _first_of((parameters.get("system") or "", draft.text))
    if "images" in own or "images" in parameters:
        return None
    messages = own.get("messages")
    if messages is None:
        return _first_of((own.get("system", parameters.get("system")) or "", draft.text))
    if any(message.get("images") for message in messages):
        return None
    return _first_of(
        f"{message.get('role')}\n{message.get('content') or ''}" for message in messages
    )


def _first_of(parts: Iterable[str]) -> str | None:
    text = "\n".join(part[:PREFIX_CHARS] for part in parts)
    return text[:PREFIX_CHARS] if len(text) >= PREFIX_CHARS else None


def fingerprint_of(beginning: str) -> str:
    """Hash of a beginning, equal in every process."""
    return blake2b(beginning.encode(errors="surrogatepass"), digest_size=8).hexdigest()
