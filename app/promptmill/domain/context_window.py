"""Detection of prompts that Ollama cut to the context window, which no field of its answer shows.

A cut prompt leaves a trace in `prompt_eval_count`: the whole window, or about half of it in newer
versions, which drop half a window at a time. A text far longer than that many tokens can hold must
have been cut.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from promptmill.domain.calls import Call

_CHARS_PER_TOKEN: Final = 12
"""Most characters per token of a whole prompt, for any tokenizer; above it, text is missing."""
_BYTES_PER_TOKEN_AT_HALF: Final = 7
"""A prompt of half a window of tokens and more UTF-8 bytes per token than this was cut: texts of
all scripts have about 4 to 6, and a prompt that lost its half has twice as many."""
_AROUND_HALF: Final = 4
"""Most distance of a cut prompt's count from half the window.

Ollama keeps 4 tokens of the beginning unless `num_keep` says otherwise.
"""
_SHORT: Final = 1000
"""Tokens of a prompt below which windows are taken to be multiples of `_ROUND`."""
_ROUND: Final = 128
_LEAST_TOKENS_OF_UNKNOWN_WINDOW: Final = 1024
"""Half of the smallest window in use; a shorter prompt was not cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentText:
    """Lengths of the texts of a prompt that was sent."""

    chars: int
    utf8_bytes: int
    is_chat: bool = False
    """Whether the prompt has several messages; Ollama drops whole messages, oldest first."""


def sent_text(*texts: str, is_chat: bool = False) -> SentText:
    """Measure texts together."""
    return SentText(
        chars=sum(map(len, texts)),
        # A lone surrogate has no encoding; Ollama gets an escape for it.
        utf8_bytes=sum(
            len(text) if text.isascii() else len(text.encode(errors="replace")) for text in texts
        ),
        is_chat=is_chat,
    )


def text_of(call: Call) -> SentText | None:
    """Measure the texts of a call that the model reads; None for a call with images.

    Ollama does not cut requests with images in this way, and their tokens are not those of texts.
    """
    messages = call.messages or ()
    if call.parameters.get("images") or any(message.get("images") for message in messages):
        return None
    parts: list[object] = [call.prompt, call.parameters.get("system")]
    parts += (message.get(name) for message in messages for name in ("content", "thinking"))
    texts = [part for part in parts if isinstance(part, str)]
    return sent_text(*texts, is_chat=len(messages) > 1)


def num_ctx_of(parameters: Mapping[str, Any]) -> int | None:
    """Window that a request asks for; None: the host's default."""
    options: object = parameters.get("options")
    if not isinstance(options, Mapping):
        return None
    wanted = cast("Mapping[str, Any]", options).get("num_ctx")
    return wanted if type(wanted) is int and wanted > 0 else None


def may_be_cut(tokens: int | None, sent: SentText) -> bool:
    """Whether a prompt may have been cut, so that the host must be asked for the window.

    The check is cheap, and true for every cut prompt. A short prompt is cut only by a small window,
    and small windows are round numbers.
    """
    if not tokens:
        return False
    is_round = (tokens + 1) % _ROUND <= _AROUND_HALF + 1
    return tokens >= _SHORT or is_round or sent.utf8_bytes > _BYTES_PER_TOKEN_AT_HALF * tokens


def was_cut(tokens: int | None, sent: SentText, windows: Collection[int]) -> bool:
    """Whether a prompt was cut, judged by the number of tokens that Ollama evaluated.

    `windows` are the windows that may have been in force: the requested one, and that of the loaded
    model if smaller. Empty: unknown.
    """
    if not tokens:
        return False
    too_long = sent.chars > _CHARS_PER_TOKEN * tokens
    if not windows:
        return too_long and tokens >= _LEAST_TOKENS_OF_UNKNOWN_WINDOW
    dense = sent.utf8_bytes > _BYTES_PER_TOKEN_AT_HALF * tokens
    for window in windows:
        half = window // 2
        if window - 1 <= tokens <= window:
            return True
        if half - 1 <= tokens <= half + _AROUND_HALF and dense:
            return True
        # A text that was cut leaves at least half of the window; a chat may leave a short message.
        leaves_enough = half - 1 <= tokens < window
        if too_long and (
            leaves_enough or (sent.is_chat and sent.chars > _CHARS_PER_TOKEN * window)
        ):
            return True
    return False
