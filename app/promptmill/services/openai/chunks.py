"""Conversion of the pieces of an answer to the chunks of OpenAI's streams; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic_core import to_json

from promptmill.domain.outcomes import Succeeded
from promptmill.ollama.heard_answer import Piece
from promptmill.services.openai.render import (
    chat_logprobs,
    completion_logprobs,
    finish_reason,
    tool_calls,
    usage,
)
from promptmill.services.openai.translation.translate import Endpoint

DONE: Final = b"data: [DONE]\n\n"
"""Last event of a complete stream."""


class Chunks:
    """Stream of chunks, all with the same id and moment."""

    def __init__(
        self, endpoint: Endpoint, *, name: str, created: int, model: str, with_usage: bool
    ) -> None:
        self._is_chat = endpoint is Endpoint.CHAT
        self._name = name
        self._head = {
            "id": f"{'chatcmpl' if self._is_chat else 'cmpl'}-{name}",
            "object": "chat.completion.chunk" if self._is_chat else "text_completion",
            "created": created,
            "model": model,
            "system_fingerprint": None,
        }
        self._with_usage = with_usage
        self._calls = 0
        self._characters = 0

    def first(self) -> Iterator[bytes]:
        """Yield the chunks before the first piece."""
        if self._is_chat:
            yield self._chat({"role": "assistant", "content": ""})

    def of(self, piece: Piece) -> Iterator[bytes]:
        """Yield the chunks of a piece."""
        if not self._is_chat:
            if piece.text:
                logprobs = completion_logprobs(piece.logprobs, offset=self._characters)
                self._characters += len(piece.text)
                yield self._completion(piece.text, None, logprobs)
            return
        if piece.thinking:
            yield self._chat({"reasoning": piece.thinking})
        if piece.text:
            yield self._chat({"content": piece.text}, logprobs=chat_logprobs(piece.logprobs))
        if piece.tool_calls:
            calls = tool_calls(piece.tool_calls, self._name, first=self._calls)
            told = [{"index": self._calls + n, **call} for n, call in enumerate(calls)]
            self._calls += len(calls)
            if told:
                yield self._chat({"tool_calls": told})

    def last(self, answer: Succeeded) -> Iterator[bytes]:
        """Yield the last chunks of a successful answer."""
        reason = finish_reason(answer.done_reason, calls_tools=self._calls > 0)
        if self._is_chat:
            yield self._chat({}, reason=reason)
        else:
            yield self._completion("", reason, None)
        if self._with_usage:
            yield self._event([], usage=usage(answer.metrics))
        yield DONE

    def _chat(
        self,
        delta: Mapping[str, Any],
        *,
        reason: str | None = None,
        logprobs: Mapping[str, Any] | None = None,
    ) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return self._event([choice])

    def _completion(
        self, text: str, reason: str | None, logprobs: Mapping[str, Any] | None
    ) -> bytes:
        choice = {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": reason}
        return self._event([choice])

    def _event(
        self, choices: list[dict[str, Any]], *, usage: Mapping[str, int] | None = None
    ) -> bytes:
        own = {"usage": usage} if self._with_usage else {}
        return event({**self._head, "choices": choices, **own})


def event(document: Mapping[str, Any]) -> bytes:
    """Encode a Server-Sent Event."""
    return b"data: " + to_json(document) + b"\n\n"
