"""The call that a stored prompt wants: its own fields over those of its batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from promptmill.domain.batches import TEXTS
from promptmill.domain.calls import Call
from promptmill.domain.openai import MARK
from promptmill.store.queue.candidates import Candidate


def call_of(
    candidate: Candidate,
    parameters: Mapping[str, Any],
    text: str,
    overrides: Mapping[str, Any] | None,
) -> Call:
    """The call of a prompt with this text; `parameters` are those of its batch."""
    own: dict[str, Any] = dict(overrides or {})
    model, messages = own.pop("model", candidate.model), own.pop("messages", None)
    is_openai = own.pop(MARK, None) is not None
    several: Sequence[str] = own.pop(TEXTS, None) or (text,)
    texts = tuple(several) if candidate.embeds else None
    return Call(
        model=model,
        prompt=text if messages is None and texts is None else None,
        messages=None if messages is None else tuple(messages),
        texts=texts,
        parameters={**parameters, **own} if own else parameters,
        timeout_s=candidate.timeout_s,
        cut_is_answer=is_openai,
    )
