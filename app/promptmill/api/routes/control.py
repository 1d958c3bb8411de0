"""Endpoints of `/batches/{id}` that pause, resume, change and retry; each returns the batch."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from promptmill.api.dependencies import BatchId, CallerOf, ResourcesOf, StrictRoute
from promptmill.api.documents.batches import JsonResponse, batch_document
from promptmill.api.errors.problems import CONFLICT
from promptmill.api.intake.body import read_aside, receive_small
from promptmill.api.intake.small_bodies import read_changes, read_retry
from promptmill.api.openapi.bodies import json_body, refused_bodies
from promptmill.api.openapi.document import always, problem, success, unknown_batch
from promptmill.api.schemas.control import PAUSED, RETRIED, RETRY, RUNNING, UPDATE, UPDATED
from promptmill.contract import examples
from promptmill.contract.batches import Batch
from promptmill.services import control

router = APIRouter(prefix="/batches", tags=["Batches"], route_class=StrictRoute)

_ONE: Final = f"/batches/{examples.BATCH_ID}"


@router.post(
    "/{batch_id}/pause",
    status_code=202,
    response_model=None,
    summary="Pause a batch",
    responses={
        **always(f"{_ONE}/pause"),
        **success(202, "Nothing more of the batch is started", Batch, PAUSED),
        **unknown_batch(f"{_ONE}/pause"),
        **problem(
            CONFLICT, "The batch is completed and cannot be paused any more.", f"{_ONE}/pause"
        ),
    },
)
async def pause_batch(batch_id: BatchId, resources: ResourcesOf, caller: CallerOf) -> Response:
    """Pause a batch: no prompt is started until it is resumed; running prompts may finish.

    A deadline (`expires_in_s`) keeps running. Pausing a paused batch changes nothing.
    """
    batch = await control.pause(resources, batch_id, caller=caller)
    return JsonResponse(batch_document(batch), status_code=202)


@router.post(
    "/{batch_id}/resume",
    status_code=202,
    response_model=None,
    summary="Resume a batch",
    responses={
        **always(f"{_ONE}/resume"),
        **success(202, "The batch goes on", Batch, RUNNING),
        **unknown_batch(f"{_ONE}/resume"),
        **problem(
            CONFLICT,
            "The batch is completed; only a paused one can be resumed.",
            f"{_ONE}/resume",
        ),
    },
)
async def resume_batch(batch_id: BatchId, resources: ResourcesOf, caller: CallerOf) -> Response:
    """Resume a paused batch. Resuming a batch that is not paused changes nothing."""
    batch = await control.resume(resources, batch_id, caller=caller)
    return JsonResponse(batch_document(batch), status_code=202)


@router.post(
    "/{batch_id}/retry",
    status_code=202,
    response_model=None,
    summary="Run prompts again",
    openapi_extra=json_body(
        "RetryRequest",
        "Which prompts; without a body all that had no success.",
        required=False,
        chosen=RETRY,
        all={},
    ),
    responses={
        **always(f"{_ONE}/retry", "/indexes/0", "the batch has prompts 0 to 2"),
        **success(202, "The prompts are queued again", Batch, RETRIED),
        **unknown_batch(f"{_ONE}/retry"),
        **problem(
            CONFLICT,
            "The batch has no prompt that failed, was cancelled or expired.",
            f"{_ONE}/retry",
        ),
        **refused_bodies(f"{_ONE}/retry"),
    },
)
async def retry_batch(
    request: Request, batch_id: BatchId, resources: ResourcesOf, caller: CallerOf
) -> Response:
    """Run prompts again that failed, were cancelled or expired, each with all attempts.

    Their results are removed until they have new ones; successes stay. An ended batch runs again. A
    deadline that has passed no longer applies.
    """
    wish = await read_aside(read_retry, await receive_small(request))
    batch = await control.retry(
        resources,
        batch_id,
        indexes=wish.indexes,
        expires_in_s=wish.expires_in_s,
        caller=caller,
    )
    return JsonResponse(batch_document(batch), status_code=202)


@router.patch(
    "/{batch_id}",
    response_model=None,
    summary="Change a batch",
    openapi_extra=json_body("BatchUpdate", "What to change.", required=True, change=UPDATE),
    responses={
        **always(_ONE, "/max_concurent", "unknown field; did you mean `max_concurrent`?"),
        **success(200, "The batch with the changes", Batch, UPDATED),
        **unknown_batch(_ONE),
        **refused_bodies(_ONE),
    },
)
async def change_batch(
    request: Request, batch_id: BatchId, resources: ResourcesOf, caller: CallerOf
) -> Response:
    """Change limits, priority, label or metadata, in any state of the batch.

    The changes apply from the next start of a prompt; running prompts are not affected.
    """
    changes = await read_aside(read_changes, await receive_small(request))
    batch = await control.update(resources, batch_id, changes, caller=caller)
    return JsonResponse(batch_document(batch))
