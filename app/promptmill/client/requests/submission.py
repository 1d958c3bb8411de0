"""What `submit` and `dry_run` take beyond the API: rows of a table, a schema in short, `once`."""

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
"""A data frame or table of pandas, polars, Arrow, DuckDB, …: whatever has Arrow's interface."""
_ROWS: Final = ("column", "id_column", "system_column", "image_column", "keep")


class SubmitFields(BatchFields, total=False):
    """What a submission may say beside its prompts: the fields of a batch, and what makes them.

    `column`, `id_column`, `system_column`, `image_column` and `keep` are for the rows of a table,
    and so is `template`, which is then no field of the batch but makes the prompt of columns:
    `Classify: {{ text }}`.
    """

    column: str
    """The column that is the prompt; if not given, `prompt` or the only one."""
    id_column: str
    """The column of the prompts' ids; if not given, `id` if there is one; empty: none."""
    system_column: str
    image_column: str
    """Names of image files, or images themselves."""
    keep: bool | str | Sequence[str]
    """The columns that come back with the results; True: all."""
    schema: str | Mapping[str, Any] | type
    """The answers' JSON Schema, in place of `format`: an object, a class of pydantic, a file's
    name (`person.json`), or fields in short such as `name, age int`."""
    once: bool
    """Whether the same prompts and fields give the same batch, however often they are submitted."""


def submit(
    prompts: Iterable[Prompt] | Table,
    given: SubmitFields,
    *,
    idempotency_key: str | None,
    stream: bool = False,
) -> Request[AcceptedBatch]:
    """POST /batches, whole or with a prompt per line.

    Raises:
        TypeError: `prompts` is a single text, or one of them is neither a text nor an object.
        ValueError: There is no prompt, something in it that JSON cannot say, two arguments
            contradict each other, or prompts that are read once are to be submitted `once`.
    """
    prompts, fields = _made(prompts, given)
    # A table may have any number of rows.
    stream = stream or isinstance(prompts, PromptTable)
    if given.get("once"):
        if idempotency_key is not None:
            raise ValueError("give either once or an idempotency_key, not both")
        # Always a prompt per line: the key holds for one form of the body.
        stream, idempotency_key = True, once_key(prompts, fields)
    key = idempotency_key or batches.new_idempotency_key()
    send = uploads.submit_stream if stream else batches.submit_batch
    return send(prompts, fields, idempotency_key=key)


def dry_run(prompts: Iterable[Prompt] | Table, given: SubmitFields) -> Request[DryRun]:
    """POST /batches?dry_run=true.

    Raises:
        TypeError: `prompts` is a single text.
        ValueError: Two arguments contradict each other.
    """
    return uploads.dry_run(*_made(prompts, given))


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


def _made(
    prompts: Iterable[Prompt] | Table, given: SubmitFields
) -> tuple[Iterable[Prompt], BatchFields]:
    """The prompts as they are sent, and the fields of the batch."""
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
            raise ValueError(
                f"{', '.join(said)}: only for rows, which a data frame or a list of dicts has"
            )
    except UnreadableInput as error:
        raise ValueError(str(error)) from None
    return prompts, cast("BatchFields", fields)


def _are_rows(prompts: Iterable[Any], *, is_said: bool) -> bool:
    """Whether dicts are rows of a table and no prompts: they are no prompts, or it was said."""
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
