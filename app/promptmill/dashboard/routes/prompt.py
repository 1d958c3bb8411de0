"""`/ui/batches/{id}/prompts/{index}`: one prompt, its answer, and where its time went."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request
from starlette.responses import Response

from promptmill.dashboard import batch_charts
from promptmill.dashboard.pages import BatchId, Given, page_router, resources_of, show
from promptmill.dashboard.routes.batch import filter_of, wanted_results
from promptmill.services import batches
from promptmill.services.reading import search

router = page_router()


@router.get("/ui/batches/{batch_id}/prompts/{index}")
async def one_prompt(
    request: Request, batch_id: BatchId, index: Annotated[int, Path(ge=0, lt=2**32)]
) -> Response:
    """The prompt with its result; the next and the one before are those within the filter."""
    resources = resources_of(request)
    wanted = wanted_results(request)
    batch = await batches.get(resources, batch_id)
    prompt = await search.whole_prompt(resources, batch_id, index)
    neighbours: list[int | None] = []
    for backwards in (True, False):
        found = await search.find_results(
            resources, batch_id, wanted, limit=1, after=index, backwards=backwards, preview=1
        )
        neighbours.append(found.results[0].index if found.results else None)
    options = {**batch.parameters, **prompt.overrides}
    return show(
        request,
        "prompt.html.j2",
        batch=batch,
        prompt=prompt,
        result=prompt.result,
        messages=[Given(message) for message in options.pop("messages", None) or ()],
        system=options.pop("system", None),
        images=len(options.pop("images", None) or ()),
        options=options,
        filter=filter_of(request),
        before=neighbours[0],
        after=neighbours[1],
        waterfall=batch_charts.waterfall(batch, prompt.result),
        attempts=batch_charts.of_attempts(prompt.earlier_attempts, prompt.result),
    )
