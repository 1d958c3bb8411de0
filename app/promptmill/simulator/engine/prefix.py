"""Prefix cache: the evaluated tokens that a slot keeps of its last prompt.

A slot keeps the tokens that it evaluated or generated last, and a new prompt only evaluates what
follows its longest common beginning with them, but always its last token. Tokens are words and
punctuation marks, as `prompt_eval_count` counts them.
"""

from __future__ import annotations

from collections.abc import Sequence

from promptmill.simulator.engine.text import words_of

_KEPT_TOKENS = 4
"""Tokens at the beginning of a prompt that stay when it is cut to the window (`num_keep`)."""

_MARK = ""
"""Stands for a token that the template or the beginning of the text adds."""

TEMPLATE_TOKENS = 2
"""Tokens that the template and the beginning of the text put before a prompt."""


class Slot:
    """Slot of a loaded model, with the contents of its cache."""

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held: Sequence[str] = ()
        """The tokens whose evaluation is kept, from the first one on."""

    def shared(self, tokens: Sequence[str]) -> int:
        """Number of the first tokens that are in the cache."""
        for place, (held, token) in enumerate(zip(self.held, tokens, strict=False)):
            if held != token:
                return place
        return min(len(self.held), len(tokens))


def prompt_tokens_of(text: str, count: int, window: int) -> list[str]:
    """The tokens of a rendered prompt that has `count` of them, cut to the window as a runner does.

    Its beginning and its end stay, what lies between them goes.
    """
    words = words_of(text)
    added = max(0, count - len(words))
    before = min(added, TEMPLATE_TOKENS)
    tokens = [*[_MARK] * before, *words, *[_MARK] * (added - before)]
    if len(tokens) <= window:
        return tokens
    kept = min(_KEPT_TOKENS, window - 1)
    return [*tokens[:kept], *tokens[len(tokens) - (window - kept) :]]
