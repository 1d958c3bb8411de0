"""Endpoints of `/batches` that read, list, cancel and delete; `submission` has the other."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from starlette.responses import Response

from promptmill.api.dependencies import (
    METADATA_PREFIX,
    BatchId,
    CallerOf,
    MetadataFilter,
    ResourcesOf,
    StrictRoute,
)
from promptmill.api.documents.batches import (
    JsonResponse,
    batch_document,
    batch_summary,
    result_documents,
)
from promptmill.api.errors.problems import CONFLICT
from promptmill.api.openapi.document import always, problem, success, unknown_batch
from promptmill.api.pagination import batch_cursor, before_batch, result_cursor
from promptmill.api.schemas.queries import BatchListQuery, BatchQuery
from promptmill.contract import examples
from promptmill.contract.batches import Batch, BatchPage
from promptmill.domain.lifecycle import JobState
from promptmill.domain.reading import BatchFilter
from promptmill.services import batches

router = APIRouter(prefix="/batches", tags=["Batches"], route_class=StrictRoute)

_ONE: Final = f"/batches/{examples.BATCH_ID}"
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


@router.get(
    "/{batch_id}",
    response_model=None,
    summary="Read a batch",
    responses={
        **always(_ONE),
        **success(200, "The batch as it stands", Batch, examples.BATCH),
        **unknown_batch(_ONE),
    },
)
async def read_batch(
    batch_id: BatchId, query: Annotated[BatchQuery, Query()], resources: ResourcesOf
) -> Response:
    """Read a batch, with the first page of its finished results in prompt order."""
    batch = await batches.wait_until_ended(resources, batch_id, timeout_s=query.wait_s)
    if not query.limit:
        return JsonResponse(batch_document(batch))
    page = await batches.results_page(resources, batch_id, limit=query.limit)
    return JsonResponse(
        batch_document(batch, await result_documents(page.results), result_cursor(page.next_after))
    )


@router.get(
    "",
    response_model=None,
    summary="List batches",
    openapi_extra=_METADATA,
    responses={
        **always("/batches"),
        **success(200, "A page of batches, newest first", BatchPage, examples.BATCH_PAGE),
    },
)
async def list_batches(
    query: Annotated[BatchListQuery, Query()], metadata: MetadataFilter, resources: ResourcesOf
) -> Response:
    """List batches without their results, newest first."""
    page = await batches.list_batches(
        resources,
        limit=query.limit,
        cursor=before_batch(query.cursor),
        wanted=BatchFilter(
            states=(JobState(query.status),) if query.status else (),
            model=query.model,
            label=query.label,
            key_name=query.key,
            text=query.q,
            created_after_ms=_milliseconds(query.created_after),
            created_before_ms=_milliseconds(query.created_before),
            metadata=metadata,
        ),
    )
    data = [batch_summary(batch) for batch in page.batches]
    return JsonResponse({"data": data, "next_cursor": batch_cursor(page.next_cursor)})


def _milliseconds(at: datetime | None) -> int | None:
    return None if at is None else round(at.timestamp() * 1000)


@router.post(
    "/{batch_id}/cancel",
    status_code=202,
    response_model=None,
    summary="Cancel a batch",
    responses={
        **always(f"{_ONE}/cancel"),
        **success(202, "The batch is being cancelled", Batch, examples.CANCELLING),
        **unknown_batch(f"{_ONE}/cancel"),
        **problem(CONFLICT, "The batch has already ended: it is completed.", f"{_ONE}/cancel"),
    },
)
async def cancel_batch(batch_id: BatchId, resources: ResourcesOf, caller: CallerOf) -> Response:
    """Cancel a batch: waiting prompts are cancelled, running calls are aborted.

    Finished results stay. A repetition changes nothing.
    """
    batch = await batches.cancel(resources, batch_id, caller=caller)
    return JsonResponse(batch_document(batch), status_code=202)


@router.delete(
    "/{batch_id}",
    status_code=204,
    response_model=None,
    summary="Delete a batch",
    responses={
        **always(_ONE),
        **success(204, "The batch, its prompts and its results are gone"),
        **unknown_batch(_ONE),
        **problem(CONFLICT, "The batch has not ended: it is running.", _ONE),
    },
)
async def delete_batch(batch_id: BatchId, resources: ResourcesOf) -> Response:
    """Delete a batch that has ended, with its prompts and results."""
    await batches.delete(resources, batch_id)
    return Response(status_code=204)
