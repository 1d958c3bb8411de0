"""Formats of streamed results and runs, NDJSON and CSV, and their negotiation."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from fastapi.responses import StreamingResponse
from pydantic_core import to_json

from promptmill.api.documents.batches import RESULT_FIELDS, result_document
from promptmill.api.errors.violations import Faults
from promptmill.api.schemas.queries import StreamQuery
from promptmill.domain.batches import TaskResult

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFormat(Generic[T]):
    """Format in which a collection is streamed."""

    media_type: str
    extension: str
    opening: Callable[[], bytes]
    """Bytes before the first item."""
    chunk: Callable[[Sequence[T]], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forms(Generic[T]):
    """Stream formats of a collection, beside pages of JSON."""

    ndjson: StreamFormat[T]
    csv: StreamFormat[T]


def forms_of(columns: Sequence[str], document: Callable[[T], Mapping[str, Any]]) -> Forms[T]:
    """Build the stream formats of what `document` writes; its keys are the columns."""

    def ndjson(items: Sequence[T]) -> bytes:
        return b"".join(to_json(document(item)) + b"\n" for item in items)

    def rows(items: Sequence[T]) -> bytes:
        return _csv_rows([[_cell(value) for value in document(one).values()] for one in items])

    return Forms(
        ndjson=StreamFormat(
            media_type="application/x-ndjson",
            extension="ndjson",
            opening=lambda: b"",
            chunk=ndjson,
        ),
        csv=StreamFormat(
            media_type="text/csv; charset=utf-8",
            extension="csv",
            opening=lambda: _csv_rows([columns]),
            chunk=rows,
        ),
    )


def _csv_rows(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)  # RFC 4180: quotation marks are doubled, lines end in CR LF.
    return text.getvalue().encode()


def _cell(value: object) -> object:
    # A missing value is an empty cell; lists and objects become JSON. Texts stay as they are.
    if isinstance(value, bool | list | dict):
        return to_json(value).decode()
    return value


RESULTS: Final = forms_of(RESULT_FIELDS, result_document)
"""Stream formats of a batch's results."""

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def _for_spreadsheets(items: Sequence[TaskResult]) -> bytes:
    return _csv_rows(
        [[_harmless(_cell(value)) for value in result_document(item).values()] for item in items]
    )


def _harmless(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


SPREADSHEET: Final[StreamFormat[TaskResult]] = StreamFormat(
    media_type="text/csv; charset=utf-8",
    extension="csv",
    opening=lambda: _BYTE_ORDER_MARK + _csv_rows([RESULT_FIELDS]),
    chunk=_for_spreadsheets,
)
"""CSV of a batch's results for spreadsheets, which take some texts for formulas."""

_KIND_OF_NAME: Final[dict[str, str | None]] = {"json": None, "ndjson": "ndjson", "csv": "csv"}
_KIND_OF_MEDIA_TYPE: Final[dict[str, str | None]] = {
    "application/json": None,
    "application/*": None,
    "*/*": None,
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "text/csv": "csv",
}


def wanted_format(name: str | None, accept: str, forms: Forms[T]) -> StreamFormat[T] | None:
    """Choose the format by `?format=`, else by the header `Accept`; None stands for a page of JSON.

    Media types that are not offered are ignored; without any other the response is JSON.
    """
    kind = _best_kind(accept) if name is None else _KIND_OF_NAME[name]
    if kind is None:
        return None
    return forms.ndjson if kind == "ndjson" else forms.csv


def _best_kind(accept: str) -> str | None:
    best_quality = 0.0
    best: str | None = None
    for entry in accept[:1000].split(","):
        media_type, *parameters = (part.strip().lower() for part in entry.split(";"))
        quality = _quality(parameters)
        if media_type in _KIND_OF_MEDIA_TYPE and quality > best_quality:
            best_quality, best = quality, _KIND_OF_MEDIA_TYPE[media_type]
    return best


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0


async def _written(
    chunks: AsyncIterator[Sequence[T]], form: StreamFormat[T]
) -> AsyncIterator[bytes]:
    """Yield the bytes of a stream, one piece for each chunk that was read."""
    opening = form.opening()
    if opening:
        yield opening
    async for items in chunks:
        # In a thread, because a chunk of vectors takes long.
        yield await asyncio.to_thread(form.chunk, items)


def stream_response(
    chunks: AsyncIterator[Sequence[T]], form: StreamFormat[T], name: str
) -> StreamingResponse:
    """The response that streams the items as a file of this name, without its extension."""
    headers = {
        "Vary": "Accept",
        "Content-Disposition": f'attachment; filename="{name}.{form.extension}"',
    }
    return StreamingResponse(_written(chunks, form), media_type=form.media_type, headers=headers)


def refuse_paging(query: StreamQuery, *names: str) -> None:
    """Refuse the parameters of pages in a query of a stream; `names` are more of them.

    Raises:
        Invalid: One is given.
    """
    faults = Faults()
    for name in ("limit", "cursor", *names):
        if getattr(query, name) is not None:
            faults.add(("query", name), "is for pages of JSON; a stream has everything")
    faults.raise_if_any()
