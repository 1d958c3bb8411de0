"""Endpoint `/batches/{id}/results`: pages of JSON, or all results as NDJSON or CSV."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic_core import to_json
from starlette.responses import Response

from promptmill.api.dependencies import BatchId, ResourcesOf, StrictRoute
from promptmill.api.documents.batches import (
    RESULT_FIELDS,
    JsonResponse,
    result_document,
    result_documents,
)
from promptmill.api.documents.result_formats import (
    RESULTS,
    SPREADSHEET,
    StreamFormat,
    forms_of,
    refuse_paging,
    stream_response,
    wanted_format,
)
from promptmill.api.openapi.document import always, success, unknown_batch
from promptmill.api.pagination import after_index, result_cursor
from promptmill.api.schemas.queries import ResultQuery
from promptmill.contract import examples
from promptmill.contract.results import ResultPage
from promptmill.domain.batches import TaskResult
from promptmill.domain.lifecycle import TaskState
from promptmill.domain.outcomes import ErrorCode
from promptmill.domain.reading import ResultFilter, SearchedText
from promptmill.services import batches
from promptmill.services.reading import search
from promptmill.services.resources import Resources

router = APIRouter(prefix="/batches", tags=["Batches"], route_class=StrictRoute)

_DEFAULT_LIMIT: Final = 100
_PATH: Final = f"/batches/{examples.BATCH_ID}/results"
_STREAMS: Final[dict[str, Any]] = {
    "application/x-ndjson": {
        "schema": {"type": "string", "description": "One result as a JSON object on each line."},
        "examples": {
            "ndjson": {
                "summary": "One result on each line",
                "value": f"{to_json(examples.RESULT).decode()}\n",
            }
        },
    },
    "text/csv": {
        "schema": {
            "type": "string",
            "description": "RFC 4180: a row of names, then a row for each result. Missing is an"
            " empty cell. Texts stand as they are: a spreadsheet may take one that begins with"
            " `=` for a formula.",
        },
        "examples": {
            "csv": {"summary": "The row of names", "value": ",".join(RESULT_FIELDS) + "\r\n"}
        },
    },
}


@router.get(
    "/{batch_id}/results",
    response_model=None,
    summary="Read results",
    responses={
        **always(_PATH),
        **success(
            200,
            "Results in prompt order",
            ResultPage,
            examples.RESULT_PAGE,
            more_content=_STREAMS,
        ),
        **unknown_batch(_PATH),
    },
)
async def read_results(
    request: Request,
    batch_id: BatchId,
    query: Annotated[ResultQuery, Query()],
    resources: ResourcesOf,
) -> Response:
    """Read finished results in prompt order, also while the batch runs.

    JSON is a page; NDJSON and CSV are a stream of all finished results.
    """
    wanted = _wanted(query)
    base64 = query.encoding_format == "base64"
    forms = forms_of(RESULT_FIELDS, partial(result_document, base64=True)) if base64 else RESULTS
    form = wanted_format(query.format, request.headers.get("accept", ""), forms)
    if form is not None:
        refuse_paging(query, "preview")
        if query.spreadsheet and form is forms.csv:
            form = SPREADSHEET
        return await _stream(resources, batch_id, form, wanted)
    found = await search.find_results(
        resources,
        batch_id,
        wanted,
        limit=query.limit or _DEFAULT_LIMIT,
        after=after_index(query.cursor),
        preview=query.preview,
    )
    document = {
        "data": await result_documents(found.results, base64=base64),
        "next_cursor": result_cursor(found.next_after),
        "scanned": found.scanned,
        "complete": found.complete,
    }
    return JsonResponse(document, headers={"Vary": "Accept"})


def _wanted(query: ResultQuery) -> ResultFilter:
    return ResultFilter(
        status=TaskState(query.status) if query.status else None,
        error_codes=(query.error_code,) if query.error_code else (),
        defect=ErrorCode(query.defect) if query.defect else None,
        model=query.model,
        host=query.host,
        min_attempts=query.min_attempts,
        min_latency_s=query.min_latency_s,
        max_latency_s=query.max_latency_s,
        text=query.q,
        text_in=SearchedText(query.in_) if query.in_ else None,
    )


async def _stream(
    resources: Resources, batch_id: str, form: StreamFormat[TaskResult], wanted: ResultFilter
) -> Response:
    if wanted == ResultFilter(status=wanted.status):
        chunks = await batches.stream_results(resources, batch_id, status=wanted.status)
    else:
        chunks = await search.stream_found(resources, batch_id, wanted)
    return stream_response(chunks, form, batch_id)
