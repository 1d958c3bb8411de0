"""Answer whose pieces are passed to a listener.

Separate from `Answer`, like `TimedAnswer`, so that prompts of batches do not pay for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from promptmill.ollama.answer import Answer
from promptmill.ollama.text import storable


class Piece(NamedTuple):
    """Content of one line of an answer."""

    text: str
    thinking: str
    tool_calls: Sequence[Any]
    logprobs: Sequence[Any]


class HeardAnswer(Answer):
    """Answer that passes on its pieces as they arrive."""

    __slots__ = ("_heard",)

    def __init__(self, heard: Callable[[Piece], None], *, chat: bool) -> None:
        super().__init__(chat=chat)
        self._heard = heard

    def _take(self, item: Any) -> None:  # noqa: ANN401 - as in `Answer`: checked by using it
        had = [len(one) for one in self._parts()]
        super()._take(item)
        texts, thoughts, calls, logprobs = (
            one[before:] for one, before in zip(self._parts(), had, strict=True)
        )
        if texts or thoughts or calls or logprobs:
            text, thinking = storable("".join(texts)), storable("".join(thoughts))
            self._heard(Piece(text, thinking, calls, logprobs))

    def _parts(self) -> tuple[list[str], list[str], list[Any], list[Any]]:
        return self._texts, self._thoughts, self._tool_calls, self._logprobs
