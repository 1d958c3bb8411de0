"""Reading of an answer of `/api/embed`: one object with a vector for each text."""

from __future__ import annotations

from typing import Any, Final, cast

from pydantic_core import from_json

from promptmill.domain.outcomes import CallMetrics, Succeeded
from promptmill.domain.vectors import packed
from promptmill.ollama.answer import ANSWER_BOUND, Answer
from promptmill.ollama.failures.table import Break
from promptmill.ollama.failures.wording import server_words, spoken
from promptmill.ollama.text import MOST_TOKENS, count

_LARGEST: Final = 3.4e38
"""Largest 32-bit floating point number, approximately."""


class Vectors(Answer):
    """Answer that is complete at its end, with as many vectors as texts."""

    __slots__ = ("_embedding", "_texts_sent")

    def __init__(self, texts: int) -> None:
        super().__init__(chat=False)
        self._texts_sent = texts
        self._embedding = b""

    def feed(self, chunk: bytes, now: float) -> bool:
        """Feed the next bytes; return whether the rest is irrelevant."""
        del now
        self._size += len(chunk)
        if self._size > ANSWER_BOUND:
            self._fail(Break.ANSWER_TOO_LONG)
            return True
        self._held.append(chunk)
        return False

    def end(self, now: float) -> None:
        """Note the end of the response."""
        body = b"".join(self._held)
        self._held.clear()
        try:
            answer = cast("dict[str, Any]", from_json(body, allow_inf_nan=False))
            if (error := answer.get("error")) is not None:
                return self._fail(Break.ERROR_LINE, spoken(error))
            vectors = answer["embeddings"]
        except (ValueError, AttributeError, KeyError, TypeError):
            return self._fail(Break.NO_OLLAMA, server_words(body)[1])
        try:
            self._embedding = _joined(vectors, self._texts_sent)
        except (ValueError, TypeError, OverflowError):
            return self._fail(Break.NO_VECTORS)
        self._final, self.done_at = answer, now
        return None

    def succeeded(self, *, latency_s: float, ttft_s: float | None) -> Succeeded:
        """Build the outcome with the vectors of all texts, concatenated."""
        final = self._final or {}
        return Succeeded(
            response="",
            embedding=self._embedding,
            metrics=CallMetrics(
                total_duration=count(final.get("total_duration")),
                load_duration=count(final.get("load_duration")),
                prompt_eval_count=count(final.get("prompt_eval_count"), MOST_TOKENS),
                latency_s=latency_s,
                ttft_s=ttft_s,
            ),
        )


def _joined(vectors: list[list[float]], texts: int) -> bytes:
    """Pack the vectors.

    Raises:
        ValueError: There are too few, too many or empty vectors, they differ in length, or a number
            is too large for 32 bits.
        TypeError: They are not lists of numbers.
    """
    sizes = {len(vector) for vector in vectors}
    if len(vectors) != texts or len(sizes) != 1 or 0 in sizes:
        raise ValueError
    if max(map(max, vectors)) > _LARGEST or min(map(min, vectors)) < -_LARGEST:
        raise ValueError
    return b"".join(map(packed, vectors))
