"""Text of a simulated model: a pure function of the model, the prompt and the seed.

An answer begins with eight hexadecimal digits that are unique to model, prompt and seed, so that a
test can match answers to prompts even when they are one token long. A prompt may choose its answer:
`[[say:TEXT]]` is answered with TEXT, and `[[tokens:N]]` with N tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from hashlib import shake_128

from promptmill.simulator.engine.instances import instance
from promptmill.simulator.engine.vocabulary import TOKENS
from promptmill.simulator.protocol.names import name_key

ANSWER_TOKENS = (16, 64)
"""Least and most tokens of an answer, unless the simulator is set otherwise."""


_DIGITS = 8
_SAY = re.compile(r"\[\[say:(.*?)\]\]", re.DOTALL)
_LENGTH = re.compile(r"\[\[tokens:(\d{1,7})\]\]")
_COUNTED = re.compile(r"\w{1,16}|[^\w\s]")
_PIECES = re.compile(r"\s*[^\s]{1,6}|\s+")


class Voice:
    """The source of one answer: a stream of bytes that model, prompt and seed decide."""

    __slots__ = ("_prompt", "_source", "mark")

    def __init__(self, model: str, prompt: str, seed: int | None = None) -> None:
        key = f"{name_key(model)}\0{'' if seed is None or seed < 0 else seed}\0{prompt}"
        self._source = shake_128(key.encode("utf-8", "surrogatepass"))
        self._prompt = prompt
        self.mark = self._source.hexdigest(_DIGITS // 2)
        """The eight digits that an answer begins with."""

    def length(self, bounds: tuple[int, int]) -> int:
        """Tokens of the whole answer, within the bounds unless the prompt says how many."""
        if "[[tokens:" in self._prompt and (asked := _LENGTH.search(self._prompt)):
            return int(asked[1])
        low, high = bounds
        return low + int.from_bytes(self._source.digest(12)[8:], "big") % (high - low + 1)

    def tokens(self, limit: int, bounds: tuple[int, int]) -> tuple[list[str], bool]:
        """At most `limit` tokens of the answer, and whether that was all of it."""
        if "[[say:" in self._prompt and (asked := _SAY.search(self._prompt)):
            pieces = pieces_of(asked[1])
            return pieces[:limit], len(pieces) <= limit
        length = self.length(bounds)
        count = min(limit, length)
        words = [TOKENS[byte] for byte in self._source.digest(count + 15)[16:]]
        return [self.mark, *words] if count else [], length <= limit

    def thinking(self, bounds: tuple[int, int]) -> list[str]:
        """The tokens of the thinking."""
        low, high = bounds
        source = shake_128(f"{self.mark} thinks".encode()).digest(high + 1)
        count = low + source[0] % (high - low + 1)
        return ["Think", *(TOKENS[byte] for byte in source[1:count])]

    def structured(self, wanted: str | Mapping[str, object]) -> str:
        """A JSON text: any object for the format `"json"`, else an instance of the schema."""
        source = shake_128(f"{self.mark} structured".encode()).digest(64)
        if isinstance(wanted, str):
            return json.dumps({"answer": self.mark, "word": TOKENS[source[0]].strip()})
        return json.dumps(instance(wanted, source), ensure_ascii=False)


def answer_text(
    model: str,
    prompt: str,
    *,
    seed: int | None = None,
    num_predict: int | None = None,
    answer_tokens: tuple[int, int] = ANSWER_TOKENS,
) -> str:
    """The text that a simulator answers to `prompt` of /api/generate.

    With a system text the prompt is `rendered_prompt(prompt, system)`, for a chat it is
    `chat_prompt(contents)`. `num_predict` above 0 is the most tokens; as on the server, 0 and less
    mean no limit. Thinking, formats and stop words are not part of it.
    """
    limit = num_predict if num_predict and num_predict > 0 else 10_000_000
    tokens, _ = Voice(model, prompt, seed).tokens(limit, answer_tokens)
    return "".join(tokens)


def rendered_prompt(prompt: str, system: str = "") -> str:
    """The prompt as the model sees it: the system text stands above it."""
    return f"{system}\n{prompt}" if system else prompt


def chat_prompt(contents: Iterable[str]) -> str:
    """The prompt of a chat: the contents of its messages, one under the other."""
    return "\n".join(contents)


def count_tokens(text: str) -> int:
    """Tokens of a text, near those of the recorded models: words and punctuation marks."""
    return len(words_of(text))


def words_of(text: str) -> list[str]:
    """The words and punctuation marks of a text, which count as its tokens."""
    return _COUNTED.findall(text)


def pieces_of(text: str) -> list[str]:
    """A given text cut into tokens; joined they are the text again."""
    return _PIECES.findall(text)
