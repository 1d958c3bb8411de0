"""`/batches`: submit, read, list, cancel, delete."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from app.api.dependencies import (
    IDEMPOTENCY_HEADER,
    METADATA_PREFIX,
    BatchId,
    IdempotencyHeader,
    MetadataFilter,
    ResourcesOf,
    only_query,
)
from app.api.openapi import always, problem, success, unknown_batch
from app.api.pagination import batch_cursor, before_batch, result_cursor
from app.api.problems import (
    BODY_TOO_LARGE,
    CONFLICT,
    LIMIT_EXCEEDED,
    MALFORMED_JSON,
    UNSUPPORTED_MEDIA_TYPE,
)
from app.api.representation import JsonResponse, batch_document, batch_summary
from app.api.request_body import receive_batch
from app.api.schemas import examples
from app.api.schemas.batches import Batch, BatchListQuery, BatchPage, BatchQuery
from app.domain.jobs import IdempotencyKey
from app.services import batches

router = APIRouter(prefix="/batches", tags=["Batches"])

_ONE: Final = f"/batches/{examples.BATCH_ID}"
_LOCATION: Final = {
    "description": "Where the batch is.",
    "schema": {"type": "string", "examples": [_ONE]},
}
_REPLAYED: Final = {
    "description": "`true` when this key and body had been sent before: it is the same batch.",
    "schema": {"type": "string", "examples": ["true"]},
}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "The prompts, and what holds for all of them.",
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/BatchRequest"},
                "examples": {
                    "batch": {"summary": "Three prompts", "value": examples.REQUEST},
                    "shortest": {"summary": "One prompt", "value": {"prompts": ["Hello!"]}},
                },
            }
        },
    },
    "parameters": [
        {
            "name": IDEMPOTENCY_HEADER,
            "in": "header",
            "required": False,
            "description": "A key of your own, 1 to 255 visible ASCII characters. The same key and"
            " body give the same batch again; the same key with another body is refused.",
            "schema": {
                "type": "string",
                "minLength": 1,
                "maxLength": 255,
                "examples": ["3f1c2a9e-5b7d-4c2e-9a55-0d6f2b1e7c48"],
            },
        }
    ],
}
_METADATA: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": f"{METADATA_PREFIX}name",
            "in": "query",
            "required": False,
            "description": "Only batches whose `metadata` has the pair; in place of `name` stands"
            " the pair's own name. May be given for several names: all have to match.",
            "schema": {"type": "string", "examples": ["colours"]},
        }
    ]
}


@router.post(
    "",
    status_code=202,
    response_model=None,
    summary="Submit a batch",
    openapi_extra=_BODY,
    dependencies=[Depends(only_query())],
    responses={
        **always("/batches", "/prompts/1", "must not be empty"),
        **success(
            202,
            "The batch is stored and will be worked off",
            Batch,
            examples.ACCEPTED,
            {"Location": _LOCATION, "Idempotent-Replayed": _REPLAYED},
        ),
        **problem(MALFORMED_JSON, "Expecting ',' delimiter at line 3 column 14.", "/batches"),
        **problem(BODY_TOO_LARGE, "The body may have 268435456 bytes at most.", "/batches"),
        **problem(
            UNSUPPORTED_MEDIA_TYPE, "The header Content-Type must be application/json.", "/batches"
        ),
        **problem(LIMIT_EXCEEDED, "The queue is full.", "/batches"),
    },
)
async def submit_batch(
    request: Request, resources: ResourcesOf, key: IdempotencyHeader
) -> Response:
    """Store a batch of prompts. When the answer arrives, it is on disk and will be worked off.

    The batch is accepted whole or not at all. A name given twice in one object is refused.
    """
    received = await receive_batch(request, resources.settings)
    idempotency = IdempotencyKey(key=key, body_hash=received.sha256) if key else None
    submission = await batches.submit(resources, received.draft, idempotency=idempotency)
    headers = {"Location": f"/batches/{submission.batch.id}"}
    if not submission.created:
        headers["Idempotent-Replayed"] = "true"
    return JsonResponse(batch_document(submission.batch), status_code=202, headers=headers)


@router.get(
    "/{batch_id}",
    response_model=None,
    summary="Read a batch",
    dependencies=[Depends(only_query(BatchQuery))],
    responses={
        **always(_ONE),
        **success(200, "The batch as it stands", Batch, examples.BATCH),
        **unknown_batch(_ONE),
    },
)
async def read_batch(
    batch_id: BatchId, query: Annotated[BatchQuery, Query()], resources: ResourcesOf
) -> Response:
    """The batch as it stands, with the first page of its finished results in prompt order."""
    batch = await batches.wait_until_ended(resources, batch_id, timeout_s=query.wait_s)
    if not query.limit:
        return JsonResponse(batch_document(batch))
    page = await batches.results_page(resources, batch_id, limit=query.limit)
    return JsonResponse(batch_document(batch, page.results, result_cursor(page.next_after)))


@router.get(
    "",
    response_model=None,
    summary="List batches",
    openapi_extra=_METADATA,
    dependencies=[Depends(only_query(BatchListQuery, prefix=METADATA_PREFIX))],
    responses={
        **always("/batches"),
        **success(200, "A page of batches, newest first", BatchPage, examples.BATCH_PAGE),
    },
)
async def list_batches(
    query: Annotated[BatchListQuery, Query()], metadata: MetadataFilter, resources: ResourcesOf
) -> Response:
    """Batches without their results, newest first; a page of them."""
    page = await batches.list_batches(
        resources,
        limit=query.limit,
        cursor=before_batch(query.cursor),
        status=query.status,
        model=query.model,
        metadata=metadata,
    )
    data = [batch_summary(batch) for batch in page.batches]
    return JsonResponse({"data": data, "next_cursor": batch_cursor(page.next_cursor)})


@router.post(
    "/{batch_id}/cancel",
    status_code=202,
    response_model=None,
    summary="Cancel a batch",
    dependencies=[Depends(only_query())],
    responses={
        **always(f"{_ONE}/cancel"),
        **success(202, "The batch is being cancelled", Batch, examples.CANCELLING),
        **unknown_batch(f"{_ONE}/cancel"),
        **problem(CONFLICT, "The batch has already ended: it is completed.", f"{_ONE}/cancel"),
    },
)
async def cancel_batch(batch_id: BatchId, resources: ResourcesOf) -> Response:
    """End a batch early: prompts that wait are cancelled, running calls are aborted.

    Finished results stay. Asking again while it is being cancelled changes nothing.
    """
    batch = await batches.cancel(resources, batch_id)
    return JsonResponse(batch_document(batch), status_code=202)


@router.delete(
    "/{batch_id}",
    status_code=204,
    response_model=None,
    summary="Delete a batch",
    dependencies=[Depends(only_query())],
    responses={
        **always(_ONE),
        **success(204, "The batch, its prompts and its results are gone"),
        **unknown_batch(_ONE),
        **problem(CONFLICT, "The batch has not ended: it is running.", _ONE),
    },
)
async def delete_batch(batch_id: BatchId, resources: ResourcesOf) -> Response:
    """Remove a batch that has ended, with its prompts and results."""
    await batches.delete(resources, batch_id)
    return Response(status_code=204)
