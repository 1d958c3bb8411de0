"""Results as NDJSON or CSV, written chunk by chunk, and which form a request asks for."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import to_json

from app.api.representation import RESULT_FIELDS, result_document
from app.domain.jobs import TaskResult


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFormat:
    """A form in which all results of a batch are streamed."""

    media_type: str
    extension: str
    opening: Callable[[], bytes]
    """What is written before the first result."""
    chunk: Callable[[Sequence[TaskResult]], bytes]


def _ndjson(results: Sequence[TaskResult]) -> bytes:
    return b"".join(to_json(result_document(result)) + b"\n" for result in results)


def _csv(results: Sequence[TaskResult]) -> bytes:
    return _csv_rows([[_cell(value) for value in result_document(one).values()] for one in results])


def _csv_rows(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)  # RFC 4180: quotes doubled, lines end in CR LF.
    return text.getvalue().encode()


def _cell(value: object) -> object:
    # Missing is an empty cell; what is no text or number stands as JSON. Texts stay as they are.
    if isinstance(value, bool | list):
        return to_json(value).decode()
    return value


NDJSON: Final = StreamFormat(
    media_type="application/x-ndjson", extension="ndjson", opening=lambda: b"", chunk=_ndjson
)
CSV: Final = StreamFormat(
    media_type="text/csv; charset=utf-8",
    extension="csv",
    opening=lambda: _csv_rows([RESULT_FIELDS]),
    chunk=_csv,
)

_OF_NAME: Final[dict[str, StreamFormat | None]] = {"json": None, "ndjson": NDJSON, "csv": CSV}
_OF_MEDIA_TYPE: Final[dict[str, StreamFormat | None]] = {
    "application/json": None,
    "application/*": None,
    "*/*": None,
    "application/x-ndjson": NDJSON,
    "application/ndjson": NDJSON,
    "application/jsonl": NDJSON,
    "text/csv": CSV,
}


def wanted_format(name: str | None, accept: str) -> StreamFormat | None:
    """The form that `?format=` names, else the header `Accept`; None is a page of JSON.

    A media type that is not offered counts for nothing; if none is, the answer is JSON.
    """
    if name is not None:
        return _OF_NAME[name]
    best_quality = 0.0
    best: StreamFormat | None = None
    for entry in accept[:1000].split(","):
        media_type, *parameters = (part.strip().lower() for part in entry.split(";"))
        quality = _quality(parameters)
        if media_type in _OF_MEDIA_TYPE and quality > best_quality:
            best_quality, best = quality, _OF_MEDIA_TYPE[media_type]
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


async def written(
    chunks: AsyncIterator[Sequence[TaskResult]], form: StreamFormat
) -> AsyncIterator[bytes]:
    """The bytes of a stream of results, one piece for each chunk that was read."""
    opening = form.opening()
    if opening:
        yield opening
    async for results in chunks:
        yield form.chunk(results)
