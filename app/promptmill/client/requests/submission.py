"""What `submit` and `dry_run` take beyond the API: a schema in short, and submitting once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, cast

from promptmill.client.records import Batch, DryRun
from promptmill.client.requests import batches, uploads
from promptmill.client.requests.batches import BatchFields, Prompt, Request
from promptmill.json_values import encoded
from promptmill.prompts.schemas import schema_of
from promptmill.rows import UnreadableInput


class SubmitFields(BatchFields, total=False):
    """What a submission may say beside its prompts: the fields of a batch, and what makes them."""

    schema: str | Mapping[str, Any] | type
    """The answers' JSON Schema, in place of `format`: an object, a class of pydantic, a file's
    name (`person.json`), or fields in short such as `name, age int`."""
    once: bool
    """Whether the same prompts and fields give the same batch, however often they are submitted."""


def submit(
    prompts: Iterable[Prompt],
    given: SubmitFields,
    *,
    idempotency_key: str | None,
    stream: bool = False,
) -> Request[Batch]:
    """POST /batches, whole or with a prompt per line.

    Raises:
        TypeError: `prompts` is a single text, or one of them is neither a text nor an object.
        ValueError: There is no prompt, something in it that JSON cannot say, two arguments
            contradict each other, or prompts that are read once are to be submitted `once`.
    """
    fields = _fields_of(given)
    if given.get("once"):
        if idempotency_key is not None:
            raise ValueError("give either once or an idempotency_key, not both")
        # Always a prompt per line: the key holds for one form of the body.
        stream, idempotency_key = True, once_key(prompts, fields)
    key = idempotency_key or batches.new_idempotency_key()
    send = uploads.submit_stream if stream else batches.submit_batch
    return send(prompts, fields, idempotency_key=key)


def dry_run(prompts: Iterable[Prompt], given: SubmitFields) -> Request[DryRun]:
    """POST /batches?dry_run=true.

    Raises:
        TypeError: `prompts` is a single text.
        ValueError: Two arguments contradict each other.
    """
    return uploads.dry_run(prompts, _fields_of(given))


def once_key(prompts: Iterable[Prompt], fields: BatchFields) -> str:
    """The idempotency key that the same prompts and fields always have.

    Raises:
        TypeError: `prompts` is a single text.
        ValueError: They can be read only once, so that none would be left to send.
    """
    lines = uploads.Lines(prompts)
    if lines.are_made_once:
        raise ValueError("once needs prompts that can be read twice, such as a list")
    digest = hashlib.sha256(encoded(dict(sorted(fields.items()))))
    for block in lines:
        digest.update(block)
    return f"once-{digest.hexdigest()}"


def _fields_of(given: SubmitFields) -> BatchFields:
    fields = dict(given)
    fields.pop("once", None)
    if (schema := fields.pop("schema", None)) is not None:
        if fields.get("format") is not None:
            raise ValueError("give either schema or format, not both")
        try:
            fields["format"] = schema_of(cast("str", schema))
        except UnreadableInput as error:
            raise ValueError(f"schema: {error}") from None
    return cast("BatchFields", fields)
