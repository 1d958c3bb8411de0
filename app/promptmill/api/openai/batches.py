"""Endpoints of `/v1/batches`: create, read, list, cancel, and read the lines so far."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from fastapi import Request
from starlette.responses import Response, StreamingResponse

from promptmill.api.dependencies import caller_in, resources_of
from promptmill.api.openai.batch_request import hash_of, read_batch
from promptmill.api.openai.errors import json_response
from promptmill.api.openai.operations import (
    Address,
    Operation,
    after_of,
    choice_of,
    idempotency_key,
    is_sent_again,
    json_body,
    limit_of,
    page,
    seconds,
)
from promptmill.domain.errors import NotFound
from promptmill.domain.openai import OpenAIBatch, Stage, Status
from promptmill.services.openai import batches

_ID: Final = re.compile(r"batch_[0-9a-z]{1,64}")
_USUAL_PAGE, _MOST_PER_PAGE = 20, 100
_ENDS: Final = (Status.COMPLETED, Status.FAILED, Status.EXPIRED, Status.CANCELLED)


def batch_document(batch: OpenAIBatch) -> dict[str, Any]:
    """Document of a batch."""
    status = batch.status
    errors = [
        {"code": one.code, "line": one.line, "message": one.message, "param": one.param}
        for one in batch.errors
    ]
    if status is Status.FAILED and batch.stop_reason is not None:
        errors.append(
            {
                "code": "max_failures_exceeded",
                "line": None,
                "message": batch.stop_reason,
                "param": None,
            }
        )
    usage = batch.usage
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.model,
        "errors": {"object": "list", "data": errors} if errors else None,
        "input_file_id": batch.input_file_id,
        "completion_window": batch.window,
        "status": status.value,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "created_at": seconds(batch.created_at_ms),
        "in_progress_at": seconds(batch.in_progress_at_ms),
        "expires_at": seconds(batch.expires_at_ms),
        "finalizing_at": seconds(batch.finalizing_at_ms),
        **{
            f"{end.value}_at": seconds(batch.ended_at_ms) if end is status else None
            for end in _ENDS
        },
        "cancelling_at": seconds(batch.cancelling_at_ms),
        "request_counts": {
            "total": batch.counts.total,
            "completed": batch.counts.succeeded,
            "failed": batch.counts.failed,
        },
        "usage": {
            "input_tokens": usage.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": usage.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        },
        "metadata": batch.metadata,
    }


async def _create(request: Request) -> Response:
    resources = resources_of(request)
    key = idempotency_key(request)
    members = await json_body(request)
    draft = read_batch(members, usual_window_s=resources.settings.batch_window_s)
    origin = batches.Origin(body_hash=hash_of(members), key=key, is_retry=is_sent_again(request))
    made = await batches.create(resources, draft, origin, await caller_in(request))
    headers = {"idempotent-replayed": "true"} if made.is_replay else {}
    return json_response(batch_document(made.batch), headers=headers)


async def _list(request: Request) -> Response:
    query = request.query_params
    found = await batches.list_batches(
        resources_of(request),
        limit=limit_of(query, usual=_USUAL_PAGE, most=_MOST_PER_PAGE),
        after=after_of(query, _ID.fullmatch),
    )
    documents = [batch_document(batch) for batch in found.batches]
    return json_response(page(documents, has_more=found.has_more))


def _batch_id(request: Request) -> str:
    batch_id: str = request.path_params["batch_id"]
    # What cannot be an id is not looked for: a database may even refuse to compare it.
    if not _ID.fullmatch(batch_id):
        raise NotFound(f"No batch found with id '{batch_id[:64]}'.")
    return batch_id


async def _read(request: Request) -> Response:
    return json_response(
        batch_document(await batches.get(resources_of(request), _batch_id(request)))
    )


async def _cancel(request: Request) -> Response:
    batch = await batches.cancel(
        resources_of(request), _batch_id(request), caller=await caller_in(request)
    )
    return json_response(batch_document(batch))


async def _results(request: Request) -> Response:
    resources = resources_of(request)
    wanted = choice_of(request.query_params, "status", ("completed", "failed"))
    batch = await batches.get(resources, _batch_id(request))

    async def blocks() -> AsyncGenerator[bytes, None]:
        async with aclosing(batches.results(resources, batch)) as pieces:
            async for piece in pieces:
                yield b"".join(
                    line
                    for succeeded, line in piece
                    if wanted is None or succeeded == (wanted == "completed")
                )

    is_whole = batch.stage is Stage.ENDED or batch.status is Status.FINALIZING
    headers = {"x-incomplete": "false" if is_whole else "true"}
    return StreamingResponse(blocks(), headers=headers, media_type="application/x-ndjson")


_MISSING: Final = ("batch_not_found", None)
BATCHES: Final = Address(
    post=Operation(_create), get=Operation(_list, ("limit", "after")), missing=_MISSING
)
BATCH: Final = Address(get=Operation(_read), missing=_MISSING)
BATCH_CANCEL: Final = Address(post=Operation(_cancel), missing=_MISSING)
BATCH_RESULTS: Final = Address(get=Operation(_results, ("status",)), missing=_MISSING)
