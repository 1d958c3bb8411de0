"""Arguments of `submit` and `dry_run` beyond the API: rows of tables, short schemas, `once`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

from promptmill.client.requests import batches, uploads
from promptmill.client.requests.batches import BatchFields, Request
from promptmill.client.requests.prompts import Prompt
from promptmill.contract.batches import AcceptedBatch
from promptmill.contract.dry_run import DryRun
from promptmill.json_values import encoded
from promptmill.prompts import Columns, Template
from promptmill.prompts.columns import EVERYTHING
from promptmill.prompts.schemas import schema_of
from promptmill.prompts.tables import PromptTable, is_frame
from promptmill.rows import UnreadableInput

Table = Any
"""Data frame or table of pandas, polars, Arrow, DuckDB, …: any type with Arrow's interface."""
_ROWS: Final = ("column", "id_column", "system_column", "image_column", "keep")


class SubmitFields(BatchFields, total=False):
    """Arguments of a submission beside its prompts: fields of a batch, and the conversion of rows.

    `column`, `id_column`, `system_column`, `image_column` and `keep` apply to rows of a table. So
    does `template`, which then is not a field of the batch but makes the prompts of columns:
    `Classify: {{ text }}`.
    """

    column: str
    """Column of the prompts; by default `prompt` or the only column."""
    id_column: str
    """Column of the prompts' ids; by default `id` if it exists; empty for no ids."""
    system_column: str
    image_column: str
    """Column of image files' names, or of images themselves."""
    keep: bool | str | Sequence[str]
    """Columns that are returned with the results; True for all."""
    schema: str | Mapping[str, Any] | type
    """The answers' JSON Schema, in place of `format`: an object, a class of pydantic, a file's
    name (`person.json`), or fields in short such as `name, age int`."""
    once: bool
    """Whether submitting the same prompts and fields again returns the same batch."""


def submit(
    prompts: Iterable[Prompt] | Table,
    given: SubmitFields,
    *,
    idempotency_key: str | None,
    stream: bool = False,
) -> Request[AcceptedBatch]:
    """POST /batches, as JSON or as NDJSON.

    Raises:
        TypeError: `prompts` is a string, or an entry is neither a string nor an object.
        ValueError: There is no prompt, a value has no JSON form, two arguments contradict each
            other, or prompts that can be read only once are submitted with `once`.
    """
    prompts, fields = _made(prompts, given)
    # Tables of any size are sent as NDJSON.
    stream = stream or isinstance(prompts, PromptTable)
    if given.get("once"):
        if idempotency_key is not None:
            raise ValueError("give either once or an idempotency_key, not both")
        # Always NDJSON, because a key belongs to one form of the body.
        stream, idempotency_key = True, once_key(prompts, fields)
    key = idempotency_key or batches.new_idempotency_key()
    send = uploads.submit_stream if stream else batches.submit_batch
    return send(prompts, fields, idempotency_key=key)


def dry_run(prompts: Iterable[Prompt] | Table, given: SubmitFields) -> Request[DryRun]:
    """POST /batches?dry_run=true.

    Raises:
        TypeError: `prompts` is a string.
        ValueError: Two arguments contradict each other.
    """
    return uploads.dry_run(*_made(prompts, given))


def once_key(prompts: Iterable[Prompt], fields: BatchFields) -> str:
    """Derive the idempotency key of prompts and fields.

    Raises:
        TypeError: `prompts` is a string.
        ValueError: The prompts can be read only once, so that none would be left to send.
    """
    lines = uploads.Lines(prompts)
    if lines.are_made_once:
        raise ValueError("once needs prompts that can be read twice, such as a list")
    digest = hashlib.sha256(encoded(dict(sorted(fields.items()))))
    for block in lines:
        digest.update(block)
    return f"once-{digest.hexdigest()}"


def _made(
    prompts: Iterable[Prompt] | Table, given: SubmitFields
) -> tuple[Iterable[Prompt], BatchFields]:
    """Convert the prompts and the fields of the batch to their sent form."""
    fields: dict[str, Any] = {name: value for name, value in given.items() if name != "once"}
    said = {name: fields.pop(name) for name in _ROWS if name in fields}
    try:
        if (schema := fields.pop("schema", None)) is not None:
            if fields.get("format") is not None:
                raise ValueError("give either schema or format, not both")
            fields["format"] = schema_of(schema)
        if is_frame(prompts) or _are_rows(prompts, is_said=bool(said)):
            prompts = PromptTable(prompts, _columns_of(said, fields.pop("template", None)))
        elif said:
            raise ValueError(f"{', '.join(said)}: only for rows of a data frame or a list of dicts")
    except UnreadableInput as error:
        raise ValueError(str(error)) from None
    return prompts, cast("BatchFields", fields)


def _are_rows(prompts: Iterable[Any], *, is_said: bool) -> bool:
    """Whether dicts are rows of a table: an argument for rows is given, or they are not prompts."""
    first = None if iter(prompts) is prompts else next(iter(prompts), None)
    is_dict = isinstance(first, Mapping)
    return is_dict and (
        is_said or not {"prompt", "messages"} & set(cast("Mapping[str, Any]", first))
    )


def _columns_of(said: Mapping[str, Any], template: str | None) -> Columns:
    if template is not None and said.get("column") is not None:
        raise ValueError("give either template or column, not both")
    keep = said.get("keep") or ()
    return Columns(
        prompt=said.get("column"),
        id=said.get("id_column"),
        system=said.get("system_column"),
        image=said.get("image_column"),
        keep=EVERYTHING if keep is True else (keep,) if isinstance(keep, str) else tuple(keep),
        template=None if template is None else Template(template),
    )
