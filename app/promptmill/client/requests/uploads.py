"""Batches sent as NDJSON, a prompt per line, made while they are sent; and `dry_run`.

The other fields are query parameters: strings as they are, other values as JSON.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Final

from promptmill.client.requests.batches import (
    BatchFields,
    Request,
    read_submitted,
    reader_of,
)
from promptmill.client.requests.prompts import Prompt, check_prompts, key_header, prompt_value
from promptmill.contract.batches import AcceptedBatch
from promptmill.contract.dry_run import DryRun
from promptmill.json_values import encoded

_TEXTS: Final = frozenset({"model", "system", "template", "suffix"})
_LINES_PER_BLOCK: Final = 200


class Lines:
    """Prompts as lines of JSON, some hundred per block; each iteration makes them anew."""

    def __init__(self, prompts: Iterable[Prompt]) -> None:
        check_prompts(prompts)
        self._prompts = prompts

    @property
    def are_made_once(self) -> bool:
        """Whether the prompts come from an iterator, which the first sending uses up."""
        return iter(self._prompts) is self._prompts

    def __iter__(self) -> Iterator[bytes]:
        """Yield the blocks to send."""
        prompts = enumerate(self._prompts)
        while block := list(itertools.islice(prompts, _LINES_PER_BLOCK)):
            yield b"".join(
                encoded(prompt_value(prompt, index), name=f"prompts[{index}]") + b"\n"
                for index, prompt in block
            )


def submit_stream(
    prompts: Iterable[Prompt], fields: BatchFields, *, idempotency_key: str
) -> Request[AcceptedBatch]:
    """POST /batches as NDJSON.

    Raises:
        TypeError: `prompts` is a string.
    """
    lines = Lines(prompts)
    return Request(
        method="POST",
        path="/batches",
        query=_query(fields),
        content=lines,
        headers={"content-type": "application/x-ndjson", **key_header(idempotency_key)},
        expected=frozenset({200, 202}),
        sendable_once=lines.are_made_once,
        read=read_submitted,
    )


def dry_run(prompts: Iterable[Prompt], fields: BatchFields) -> Request[DryRun]:
    """POST /batches?dry_run=true.

    Raises:
        TypeError: `prompts` is a string.
    """
    lines = Lines(prompts)
    return Request(
        method="POST",
        path="/batches",
        query=(("dry_run", "true"), *_query(fields)),
        content=lines,
        headers={"content-type": "application/x-ndjson"},
        sendable_once=lines.are_made_once,
        read=reader_of(DryRun),
    )


def _query(fields: BatchFields) -> tuple[tuple[str, str], ...]:
    return tuple(
        (
            name,
            value
            if name in _TEXTS and isinstance(value, str)
            else encoded(value, name=name).decode(),
        )
        for name, value in fields.items()
    )
