"""Composition of an answer's tokens before the first one is sent.

Pure: the same request always gives the same answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import shake_128

from promptmill.simulator.engine.instances import instance
from promptmill.simulator.engine.text import Voice, pieces_of
from promptmill.simulator.engine.vocabulary import TOKENS
from promptmill.simulator.faults.rules import Fault, FaultKind
from promptmill.simulator.protocol.gojson import encode, quote
from promptmill.simulator.protocol.narrow import as_object
from promptmill.simulator.protocol.options import Options
from promptmill.simulator.settings import SimulatorSettings

REPEATS = 30
"""Equal tokens in a row after which the server ends an answer (as recorded)."""

STOP = "stop"
LENGTH = "length"

_TOOL = re.compile(r"\[\[tool(?::([^\]]+))?\]\]")


@dataclass(slots=True)
class Answer:
    """The tokens of one answer."""

    tokens: list[str]
    done_reason: str = STOP
    eval_tokens: int = 0
    """Value of `eval_count`."""
    thinking: list[str] = field(default_factory=list[str])
    tool_calls: str = ""
    """The items of `tool_calls`, joined by commas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Parts of a request that shape the answer, beside its prompt."""

    options: Options
    format: str | Mapping[str, object] | None = None
    """`"json"`, a JSON Schema, or nothing."""
    think: bool = False
    tools: Sequence[object] = ()


def compose(
    model: str,
    prompt: str,
    wanted: Wanted,
    *,
    limit: int,
    settings: SimulatorSettings,
    fault: Fault | None,
) -> Answer:
    """Compose the answer of at most `limit` tokens, with the fault if it changes the text."""
    voice = Voice(model, prompt, wanted.options.seed)
    if fault is not None and fault.kind is FaultKind.ONE_TOKEN:
        return Answer([voice.mark], STOP, 1)
    thinking = voice.thinking(settings.thinking_tokens) if wanted.think else []
    kind = fault.kind if fault is not None else None
    if len(thinking) >= limit:
        return Answer([], LENGTH, limit, thinking[:limit])
    answer = _spoken(voice, prompt, wanted, limit - len(thinking), settings, kind)
    if wanted.options.stop and kind is not FaultKind.REPEAT:
        _stop_at(answer, wanted.options.stop)
    answer.thinking = thinking
    # With a format the server runs a second pass, and only that one is counted.
    if wanted.format is None:
        answer.eval_tokens += len(thinking)
    return answer


def _spoken(
    voice: Voice,
    prompt: str,
    wanted: Wanted,
    limit: int,
    settings: SimulatorSettings,
    kind: FaultKind | None,
) -> Answer:
    """Part of the answer that is not thinking."""
    if kind is FaultKind.EMPTY:
        return Answer([], STOP, 1)
    if kind is FaultKind.EMPTY_LENGTH:
        return Answer([], LENGTH, limit)
    if kind is FaultKind.REPEAT:
        return Answer(["\n"] * REPEATS, STOP, REPEATS)
    if wanted.tools and "[[tool" in prompt and (asked := _TOOL.search(prompt)):
        return Answer([], STOP, 1, tool_calls=_tool_call(voice, wanted.tools, asked[1]))
    if wanted.format is None:
        tokens, whole = voice.tokens(limit, settings.answer_tokens)
    else:
        text = voice.structured(wanted.format)
        # Prose in front makes any JSON invalid.
        pieces = pieces_of(f"Sure: {text}" if kind is FaultKind.BAD_JSON else text)
        tokens, whole = pieces[:limit], len(pieces) <= limit
    if kind is FaultKind.LENGTH:
        tokens, whole = tokens[: max(1, len(tokens) // 2)], False
    return Answer(tokens, STOP if whole else LENGTH, max(1, len(tokens)))


def _stop_at(answer: Answer, words: Sequence[str]) -> None:
    """Cut the answer before the first stop word, which is left out."""
    text = "".join(answer.tokens)
    places = [place for word in words if word and (place := text.find(word)) >= 0]
    if not places:
        return
    end, kept, length = min(places), list[str](), 0
    for token in answer.tokens:
        kept.append(token[: end - length])
        length += len(token)
        if length > end:
            break
    answer.eval_tokens = len(kept)
    answer.tokens = [token for token in kept if token]
    answer.done_reason = STOP


def _tool_call(voice: Voice, tools: Sequence[object], name: str | None) -> str:
    """Call of the named tool, or of the first, with arguments that fit its schema."""
    known = [
        function
        for tool in tools
        if (function := as_object((as_object(tool) or {}).get("function"))) is not None
    ]
    chosen = next((item for item in known if item.get("name") == name), known[0] if known else {})
    schema = as_object(chosen.get("parameters"))
    source = shake_128(f"{voice.mark} calls".encode()).digest(64)
    arguments: object = instance(schema, source) if schema else {}
    return (
        f'{{"id":"call_{voice.mark}","function":{{"index":0,'
        f'"name":{quote(str(chosen.get("name", "")))},"arguments":{encode(arguments)}}}}}'
    )


def logprob_items(tokens: Sequence[str], top: int) -> list[str]:
    """Item of `logprobs` for each token, with its `top` alternatives."""
    items: list[str] = []
    for token in tokens:
        source = shake_128(token.encode("utf-8", "replace")).digest(2 + top)
        best = _logprob(token, source[0])
        others = [_logprob(TOKENS[byte], 100 + byte) for byte in source[2 : 1 + top]]
        if top:
            best = f'{best},"top_logprobs":[{{{"},{".join([best, *others])}}}]'
        items.append(f"{{{best}}}")
    return items


def _logprob(token: str, weight: int) -> str:
    """Members of one log probability."""
    numbers = ",".join(map(str, token.encode("utf-8", "replace")))
    return f'"token":{quote(token)},"logprob":{-(weight + 1) / 64},"bytes":[{numbers}]'


@lru_cache(maxsize=1024)
def context_numbers(length: int) -> str:
    """Numbers for `context`, without meaning, because nothing reads them."""
    return ",".join(str(300 + place * 7919 % 7600) for place in range(length))
