"""Conversion of Ollama's answers to bodies of OpenAI's responses; pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, cast

from pydantic_core import to_json

from promptmill.domain.outcomes import CallMetrics
from promptmill.domain.vectors import unpacked
from promptmill.services.openai.translation.translate import Endpoint


class Answer(Protocol):
    """Parts of an answer, of a stored result or of a call that has just ended."""

    @property
    def response(self) -> str | None:
        """Text of the answer."""
        ...

    @property
    def thinking(self) -> str | None:
        """Thinking of the model before the answer."""
        ...

    @property
    def tool_calls(self) -> Sequence[Any] | None:
        """Tool calls, as Ollama sends them."""
        ...

    @property
    def logprobs(self) -> Sequence[Any] | None:
        """Log probabilities, as Ollama sends them."""
        ...

    @property
    def done_reason(self) -> str | None:
        """Why the answer ended."""
        ...

    @property
    def embedding(self) -> bytes | None:
        """Vectors of the texts, concatenated."""
        ...

    @property
    def metrics(self) -> CallMetrics:
        """Counters of the call."""
        ...


def answer_body(
    endpoint: Endpoint,
    answer: Answer,
    *,
    name: str,
    created: int,
    model: str,
    mark: Mapping[str, Any],
) -> dict[str, Any]:
    """Body of an answer.

    `name` is the part of its id after the prefix, `mark` that of `translate.Translated`.
    """
    if endpoint is Endpoint.EMBEDDINGS:
        return _embeddings(answer, model, mark)
    if endpoint is Endpoint.CHAT:
        kind, prefix, choice = "chat.completion", "chatcmpl-", _chat_choice(answer, name)
    else:
        kind, prefix, choice = "text_completion", "cmpl-", _completion_choice(answer)
    body: dict[str, Any] = {
        "id": f"{prefix}{name}",
        "object": kind,
        "created": created,
        "model": model,
        "choices": [choice],
        "usage": usage(answer.metrics),
        "system_fingerprint": None,
    }
    if endpoint is Endpoint.CHAT:
        body["service_tier"] = None
    return body


def _embeddings(answer: Answer, model: str, mark: Mapping[str, Any]) -> dict[str, Any]:
    packed, texts = answer.embedding or b"", mark["texts"]
    size = len(packed) // texts
    vectors = [packed[size * n : size * (n + 1)] for n in range(texts)]
    tokens = answer.metrics.prompt_eval_count or 0
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": b64encode(one).decode() if mark["base64"] else unpacked(one),
            }
            for index, one in enumerate(vectors)
        ],
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def usage(metrics: CallMetrics) -> dict[str, int]:
    """Tokens of one call; 0 for numbers that Ollama left out."""
    prompt, completion = metrics.prompt_eval_count or 0, metrics.eval_count or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def finish_reason(done_reason: str | None, *, calls_tools: bool = False) -> str:
    """Why an answer ended, in OpenAI's terms."""
    if done_reason == "length":
        return "length"
    return "tool_calls" if calls_tools else "stop"


def tool_calls(calls: Sequence[Any] | None, name: str, *, first: int = 0) -> list[dict[str, Any]]:
    """Tool calls, numbered from `first`, with their arguments as text."""
    return [
        {
            "id": call.get("id") or f"call_{_last_part(name)}_{number}",
            "type": "function",
            "function": {
                "name": str(call["function"].get("name", "")),
                "arguments": to_json(call["function"].get("arguments") or {}).decode(),
            },
        }
        for number, call in enumerate(_sound(calls), start=first)
    ]


def _sound(calls: Sequence[Any] | None) -> list[dict[str, Any]]:
    """Well-formed calls; a host may send anything."""
    return [
        cast("dict[str, Any]", call)
        for call in calls or ()
        if isinstance(call, Mapping)
        and isinstance(cast("Mapping[str, Any]", call).get("function"), Mapping)
    ]


def _last_part(name: str) -> str:
    return name.rpartition("_")[2]


def _chat_choice(answer: Answer, name: str) -> dict[str, Any]:
    calls = tool_calls(answer.tool_calls, name)
    text = answer.response or ""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if calls and not text else text,
        "refusal": None,
    }
    if answer.thinking:
        message["reasoning"] = answer.thinking
    if calls:
        message["tool_calls"] = calls
    return {
        "index": 0,
        "message": message,
        "logprobs": chat_logprobs(answer.logprobs),
        "finish_reason": finish_reason(answer.done_reason, calls_tools=bool(calls)),
    }


def chat_logprobs(tokens: Sequence[Any] | None) -> dict[str, Any] | None:
    """Log probabilities of a chat; None without any."""
    if not tokens:
        return None
    content = [
        {**_token(one), "top_logprobs": [_token(top) for top in one.get("top_logprobs") or ()]}
        for one in _objects(tokens)
    ]
    return {"content": content, "refusal": None}


def _objects(items: Sequence[Any]) -> list[dict[str, Any]]:
    return [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]


def _token(one: Mapping[str, Any]) -> dict[str, Any]:
    token = str(one.get("token", ""))
    known = one.get("bytes")
    return {
        "token": token,
        "logprob": float(one.get("logprob") or 0.0),
        "bytes": list(token.encode()) if known is None else known,
    }


def _completion_choice(answer: Answer) -> dict[str, Any]:
    return {
        "text": answer.response or "",
        "index": 0,
        "logprobs": completion_logprobs(answer.logprobs),
        "finish_reason": finish_reason(answer.done_reason),
    }


def completion_logprobs(tokens: Sequence[Any] | None, *, offset: int = 0) -> dict[str, Any] | None:
    """Log probabilities of a completion; `offset` is the position at which its text begins."""
    if not tokens:
        return None
    found: dict[str, Any] = {
        "tokens": [],
        "token_logprobs": [],
        "top_logprobs": [],
        "text_offset": [],
    }
    for one in _objects(tokens):
        token = _token(one)
        tops = one.get("top_logprobs") or ()
        found["tokens"].append(token["token"])
        found["token_logprobs"].append(token["logprob"])
        found["top_logprobs"].append({each["token"]: each["logprob"] for each in map(_token, tops)})
        found["text_offset"].append(offset)
        offset += len(token["token"])
    return found


# --- lines -----------------------------------------------------------------------------------

_LINE_BREAKS: Final = (
    ("\u0085".encode(), b"\\u0085"),
    ("\u2028".encode(), b"\\u2028"),
    ("\u2029".encode(), b"\\u2029"),
)
"""Characters that `str.splitlines`, which clients use, takes for line ends."""


def one_line(document: Mapping[str, Any]) -> bytes:
    """Encode a document as one line, whatever a client takes for a line end."""
    line = to_json(document)
    for character, escape in _LINE_BREAKS:
        if character in line:
            line = line.replace(character, escape)
    return line + b"\n"
