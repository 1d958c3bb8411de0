"""Endpoint `POST /batches`: submits a batch as JSON or NDJSON, or only checks it."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from promptmill.api.dependencies import CallerOf, IdempotencyHeader, ResourcesOf
from promptmill.api.documents.batches import JsonResponse, batch_document
from promptmill.api.errors.problems import (
    BODY_TOO_LARGE,
    LIMIT_EXCEEDED,
    MALFORMED_JSON,
    UNSUPPORTED_MEDIA_TYPE,
)
from promptmill.api.errors.violations import Faults
from promptmill.api.installed_models import ModelCheck
from promptmill.api.intake.batches import BodyForm, NdjsonBody, body_form, receive_batch, too_large
from promptmill.api.intake.dry_run import dry_run
from promptmill.api.intake.query import check_json_query, wants_dry_run
from promptmill.api.openapi.document import always, problem, success
from promptmill.api.openapi.submission import submission_request
from promptmill.contract import examples
from promptmill.contract.batches import AcceptedBatch
from promptmill.contract.dry_run import DRY_RUN, DryRun
from promptmill.domain.access.keys import Caller
from promptmill.domain.batches import IdempotencyKey
from promptmill.services import batches, uploads
from promptmill.services.batches import Submission
from promptmill.services.resources import Resources

router = APIRouter(prefix="/batches", tags=["Batches"])

_LOCATION: Final = {
    "description": "Where the batch is.",
    "schema": {"type": "string", "examples": [f"/batches/{examples.BATCH_ID}"]},
}
_REPLAYED: Final = {
    "description": "`true` when this key and body had been sent before: it is the same batch.",
    "schema": {"type": "string", "examples": ["true"]},
}


@router.post(
    "",
    status_code=202,
    response_model=None,
    summary="Submit a batch",
    openapi_extra=submission_request(),
    responses={
        **always("/batches", "/prompts/1", "must not be empty"),
        **success(200, "Only checked: the batch would be accepted", DryRun, DRY_RUN),
        **success(
            202,
            "The batch is stored and will be worked off",
            AcceptedBatch,
            examples.ACCEPTED,
            {"Location": _LOCATION, "Idempotent-Replayed": _REPLAYED},
        ),
        **problem(MALFORMED_JSON, "Expecting ',' delimiter at line 3 column 14.", "/batches"),
        **problem(BODY_TOO_LARGE, too_large(32 * 1024 * 1024), "/batches"),
        **problem(
            UNSUPPORTED_MEDIA_TYPE, "The header Content-Type must be application/json.", "/batches"
        ),
        **problem(LIMIT_EXCEEDED, "The queue is full.", "/batches"),
    },
)
async def submit_batch(
    request: Request, resources: ResourcesOf, key: IdempotencyHeader, caller: CallerOf
) -> Response:
    """Store a batch of prompts. The response is sent when the batch is on disk.

    A batch is accepted as a whole or not at all. A name given twice in one object is refused.
    """
    form = body_form(request)
    faults = Faults()
    only_check = wants_dry_run(request, faults)
    if form is BodyForm.JSON:
        check_json_query(request, faults)
    faults.raise_if_any()
    if only_check:
        return JsonResponse(await dry_run(request, resources, form, caller))
    receive = _receive_json if form is BodyForm.JSON else _receive_ndjson
    submission, unchecked = await receive(request, resources, key, caller)
    headers = {"Location": f"{request.scope['root_path']}/batches/{submission.batch.id}"}
    if not submission.created:
        headers["Idempotent-Replayed"] = "true"
    document = {**batch_document(submission.batch), "unchecked": unchecked}
    return JsonResponse(document, status_code=202, headers=headers)


async def _receive_json(
    request: Request, resources: Resources, key: str | None, caller: Caller
) -> tuple[Submission, list[str]]:
    """Store a JSON batch; return it with the sentences of unchecked formats."""
    check = ModelCheck()
    received = await receive_batch(request, resources.settings, check)
    await check.refuse_those_that_only_embed(resources, received.draft.kind)
    idempotency = IdempotencyKey(key=key, body_hash=received.sha256) if key else None
    submission = await batches.submit(
        resources, received.draft, idempotency=idempotency, caller=caller
    )
    return submission, received.unchecked


async def _receive_ndjson(
    request: Request, resources: Resources, key: str | None, caller: Caller
) -> tuple[Submission, list[str]]:
    """Store an NDJSON batch; return it with the sentences of unchecked formats."""
    check = ModelCheck()
    body = NdjsonBody(request, resources.settings, check)
    async with uploads.receiving(resources, body.draft, key=key, caller=caller) as upload:
        async for prompts in body.pieces():
            await upload.add(prompts)
        await check.refuse_those_that_only_embed(resources, body.draft.kind)
        return await upload.finish(body_hash=body.sha256), body.unchecked
