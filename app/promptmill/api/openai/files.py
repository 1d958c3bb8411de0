"""Endpoints of `/v1/files`: upload, list, read, delete."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import quote

from fastapi import Request
from starlette.responses import Response, StreamingResponse

from promptmill.api.dependencies import resources_of
from promptmill.api.openai.errors import ApiError, json_response
from promptmill.api.openai.operations import (
    Address,
    Operation,
    after_of,
    choice_of,
    idempotency_key,
    is_sent_again,
    limit_of,
    page,
    seconds,
)
from promptmill.api.openai.upload import Upload, read_form
from promptmill.domain.errors import NotFound
from promptmill.domain.openai import Purpose, StoredFile
from promptmill.services.openai import files
from promptmill.services.openai.storing import accept
from promptmill.services.openai.translation.faults import Fault

_ID: Final = re.compile(r"file-[0-9a-z]{1,64}")
_MOST_PER_PAGE: Final = 10_000
_RANGE: Final = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")
_NOT_IN_A_NAME: Final = re.compile(r'[^\x20-\x7e]|["\\]')


def file_document(stored: StoredFile) -> dict[str, Any]:
    """Document of a file."""
    return {
        "id": stored.id,
        "object": "file",
        "bytes": stored.bytes,
        "created_at": seconds(stored.created_at_ms),
        "expires_at": seconds(stored.expires_at_ms),
        "filename": stored.filename,
        "purpose": stored.purpose.value,
        # At once: clients wait for it, and have nothing else to wait for.
        "status": "processed",
        "status_details": None,
    }


async def _create(request: Request) -> Response:
    resources = resources_of(request)
    key = idempotency_key(request)
    upload = Upload(resources)
    try:
        await read_form(request, upload)
        accepted = await accept(
            resources,
            upload.writer,
            expires_in_s=upload.expires_in_s(),
            key=key,
            is_retry=is_sent_again(request),
        )
    except BaseException:  # Also when the client leaves or the service stops in the middle.
        await upload.writer.discard()
        raise
    headers = {"idempotent-replayed": "true"} if accepted.is_replay else {}
    return json_response(file_document(accepted.file), headers=headers)


async def _list(request: Request) -> Response:
    query = request.query_params
    purpose = choice_of(query, "purpose", tuple(Purpose))
    order = choice_of(query, "order", ("asc", "desc"))
    found = await files.list_files(
        resources_of(request),
        limit=limit_of(query, usual=_MOST_PER_PAGE, most=_MOST_PER_PAGE),
        after=after_of(query, _ID.fullmatch),
        purpose=None if purpose is None else Purpose(purpose),
        newest_first=order != "asc",
    )
    documents = [file_document(stored) for stored in found.files]
    return json_response(page(documents, has_more=found.has_more))


def _file_id(request: Request) -> str:
    file_id: str = request.path_params["file_id"]
    # What cannot be an id is not looked for: a database may even refuse to compare it.
    if not _ID.fullmatch(file_id):
        raise NotFound(f"No such File object: {file_id[:64]}")
    return file_id


async def _read(request: Request) -> Response:
    stored = await files.get(resources_of(request), _file_id(request))
    return json_response(file_document(stored))


async def _delete(request: Request) -> Response:
    file_id = _file_id(request)
    await files.delete(resources_of(request), file_id)
    return json_response({"id": file_id, "object": "file", "deleted": True})


async def _content(request: Request) -> Response:
    resources = resources_of(request)
    stored = await files.get(resources, _file_id(request))
    ascii_name = _NOT_IN_A_NAME.sub("_", stored.filename) or "file"
    encoded = quote(stored.filename, safe="")
    headers = {
        "ETag": f'"{stored.sha256}"',
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"attachment; filename=\"{ascii_name}\"; filename*=UTF-8''{encoded}",
    }
    first, last, status = _range(request, stored.bytes)
    if status == 206:  # noqa: PLR2004 - HTTP's number
        headers["Content-Range"] = f"bytes {first}-{last}/{stored.bytes}"
    headers["Content-Length"] = str(last - first + 1)
    if request.method == "HEAD":
        return Response(None, status, headers=headers, media_type="application/octet-stream")

    async def blocks() -> AsyncGenerator[bytes, None]:
        async with aclosing(files.content(resources.database, stored, first, last)) as found:
            async for block in found:
                yield block

    return StreamingResponse(
        blocks(), status, headers=headers, media_type="application/octet-stream"
    )


def _range(request: Request, size: int) -> tuple[int, int, int]:
    """First and last byte to send, and the status; only single ranges are supported."""
    asked = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if asked is None or not (asked[1] or asked[2]):
        return 0, size - 1, 200
    if not asked[1]:
        first, last = max(size - int(asked[2]), 0), size - 1
    else:
        first, last = int(asked[1]), min(int(asked[2] or size - 1), size - 1)
    if first >= size or last < first:
        fault = Fault(f"The file has {size} bytes.", None, "invalid_value")
        raise ApiError(416, fault, headers={"Content-Range": f"bytes */{size}"})
    return first, last, 206


_MISSING: Final = ("file_not_found", "id")
FILES: Final = Address(
    post=Operation(_create),
    get=Operation(_list, ("limit", "after", "order", "purpose")),
    missing=_MISSING,
)
FILE: Final = Address(get=Operation(_read), delete=Operation(_delete), missing=_MISSING)
FILE_CONTENT: Final = Address(get=Operation(_content), missing=_MISSING)
