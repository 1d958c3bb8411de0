"""Reading of an answer of `/api/generate` or `/api/chat`: bytes in, text and counters out, no I/O.

An answer is accepted only with `done: true`. The code runs once per chunk of every prompt, so a
line is parsed straight into a dict and never becomes a model.
"""

from __future__ import annotations

import json
from typing import Any, cast

from pydantic_core import from_json

from promptmill.domain.outcomes import CallMetrics, Failed, Succeeded
from promptmill.ollama.failures.table import Break, failed_break
from promptmill.ollama.failures.wording import server_words, spoken
from promptmill.ollama.text import (
    LONGEST_NAME,
    MOST_TOKENS,
    count,
    one_line,
    storable,
    storable_json,
)

LINE_BOUND = 8 * 1024 * 1024
"""Most bytes of a line; Ollama imposes the same on its runner."""
ANSWER_BOUND = 64 * 1024 * 1024
"""Most bytes of a whole answer."""


class Answer:
    """Answer that is being received. Chunks are fed as they arrive; lines may be cut anywhere."""

    __slots__ = (
        "_chat",
        "_final",
        "_held",
        "_held_size",
        "_logprobs",
        "_size",
        "_speaks",
        "_text_field",
        "_texts",
        "_thoughts",
        "_tool_calls",
        "began_at",
        "done_at",
        "failed",
    )

    def __init__(self, *, chat: bool) -> None:
        self._chat = chat
        self._text_field = "content" if chat else "response"
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._tool_calls: list[Any] = []
        self._logprobs: list[Any] = []
        self._held: list[bytes] = []
        self._held_size = 0
        self._size = 0
        self._speaks = False
        self._final: dict[str, Any] | None = None
        self.failed: Failed | None = None
        """Failure that makes the answer unusable, so that the rest need not be read."""
        self.began_at: float | None = None
        """Moment of the first text, thinking included."""
        self.done_at: float | None = None
        """Moment of `done: true`; None while the answer is incomplete."""

    def feed(self, chunk: bytes, now: float) -> bool:
        """Feed the next bytes, read at `now`; return whether the rest is irrelevant."""
        self._size += len(chunk)
        if self._size > ANSWER_BOUND:
            self._fail(Break.ANSWER_TOO_LONG)
            return True
        lines = chunk.split(b"\n")
        if len(lines) > 1:
            if self._held:
                # Joined once per line, because adding chunk to chunk would copy a long line
                # repeatedly.
                self._held.append(lines[0])
                lines[0] = b"".join(self._held)
                self._held.clear()
                self._held_size = 0
            last = lines.pop()
            for line in lines:
                self._line(line)
        else:
            last = chunk
        if last:
            self._held.append(last)
            self._held_size += len(last)
            if self._held_size > LINE_BOUND:
                self._fail(Break.LINE_TOO_LONG)
        return self._note(now)

    def end(self, now: float) -> None:
        """Note the end of the response."""
        if self._held:
            # An answer of a single object (`done_reason` "load") has no line end.
            rest = b"".join(self._held)
            self._held.clear()
            if not _is_cut(rest):
                self._line(rest)
            self._note(now)
        if self._final is None:
            self._fail(Break.NO_DONE)

    def succeeded(self, *, latency_s: float, ttft_s: float | None) -> Succeeded:
        """Build the outcome of an answer that is `done`."""
        final = self._final or {}
        reason = final.get("done_reason")
        return Succeeded(
            response=self.text(),
            thinking=storable("".join(self._thoughts)) if self._thoughts else None,
            tool_calls=storable_json(self._tool_calls) if self._tool_calls else None,
            logprobs=storable_json(self._logprobs) if self._logprobs else None,
            done_reason=one_line(reason, LONGEST_NAME) if isinstance(reason, str) else None,
            metrics=CallMetrics(
                total_duration=count(final.get("total_duration")),
                load_duration=count(final.get("load_duration")),
                prompt_eval_count=count(final.get("prompt_eval_count"), MOST_TOKENS),
                prompt_eval_duration=count(final.get("prompt_eval_duration")),
                eval_count=count(final.get("eval_count"), MOST_TOKENS),
                eval_duration=count(final.get("eval_duration")),
                latency_s=latency_s,
                ttft_s=ttft_s,
            ),
        )

    def text(self) -> str:
        """Text received so far, without the thinking."""
        return storable("".join(self._texts))

    def _note(self, now: float) -> bool:
        if self.began_at is None and (self._texts or self._thoughts):
            self.began_at = now
        if self._final is None:
            return self.failed is not None
        if self.done_at is None:
            self.done_at = now
        return True

    def _line(self, line: bytes) -> None:
        if self.failed is not None or self._final is not None:
            return  # Lines after the end or an error are ignored.
        if len(line) > LINE_BOUND:
            self._fail(Break.LINE_TOO_LONG)
            return
        try:
            item = from_json(line)
        except ValueError:
            item = _leniently(line)
        if item is _BLANK:
            return
        try:
            self._take(item)
        except (AttributeError, TypeError):
            kind = Break.NOT_JSON if self._speaks else Break.NO_OLLAMA
            self._fail(kind, server_words(line)[1])

    def _take(self, item: Any) -> None:  # noqa: ANN401 - checked by using it: that costs nothing
        """Take a parsed line; raises an error if it does not have the form of Ollama's lines."""
        error = item.get("error")
        if error is not None:
            self._fail(Break.ERROR_LINE, spoken(error))
            return
        if not self._speaks:
            if item.keys().isdisjoint(_FIRST_FIELDS):
                raise TypeError
            self._speaks = True
        source = (item.get("message") or _NO_MESSAGE) if self._chat else item
        text, thought = source.get(self._text_field), source.get("thinking")
        if text:
            self._texts.append("" + text)
        if thought:
            self._thoughts.append("" + thought)
        # `get` instead of a loop over the names, because most lines have neither.
        if (calls := source.get("tool_calls")) is not None:
            self._tool_calls.extend(calls)
        if (logprobs := item.get("logprobs")) is not None:
            self._logprobs.extend(logprobs)
        if item.get("done") is True:
            self._final = item

    def _fail(self, kind: Break, words: str = "") -> None:
        if self.failed is None and self._final is None:
            self.failed = failed_break(kind, words)
            self._held.clear()


_BLANK = object()
_FIRST_FIELDS = frozenset({"model", "response", "message", "done"})
"""Names in a first line of Ollama's; a line without any comes from another program."""
_NO_MESSAGE: dict[str, Any] = {}


def _leniently(line: bytes) -> object:
    """Parse a line that the strict parser refused: blank, with lone surrogates or broken UTF-8.

    None if it is not JSON at all.
    """
    if not line.strip():
        return _BLANK
    try:
        return cast("object", json.loads(line.decode("utf-8", "replace")))
    except (ValueError, RecursionError):
        return None


def _is_cut(rest: bytes) -> bool:
    """Whether the text is the beginning of an object without its end."""
    return rest.lstrip().startswith(b"{") and not rest.rstrip().endswith(b"}")
