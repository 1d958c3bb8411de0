"""Dry runs (`?dry_run=true`): all checks of a submission, and of its models; nothing is stored."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from promptmill.api.documents.batches import failure_limit
from promptmill.api.installed_models import ModelCheck
from promptmill.api.intake.batches import BodyForm, NdjsonBody, receive_batch
from promptmill.domain.access.keys import Caller
from promptmill.domain.batches import BatchDraft, BatchKind
from promptmill.domain.errors import Unavailable
from promptmill.domain.outcomes import DEFAULT_FAIL_ON
from promptmill.services import admission, models
from promptmill.services.recommended_limit import with_starting_limit
from promptmill.services.resources import Resources


async def dry_run(
    request: Request, resources: Resources, form: BodyForm, caller: Caller
) -> dict[str, Any]:
    """Describe the batch that the request would make.

    Raises:
        Refused, MalformedJson, Invalid: As on submitting; a model that is not installed as well.
        LimitExceeded: The queue has no room for it now.
        Unavailable: No Ollama host answers, so nobody knows which models it has; with `auto_pull`
            that does not matter.
    """
    away: Unavailable | None = None
    try:
        check = ModelCheck(await models.installed_names(resources), hosts=len(resources.hosts))
    except Unavailable as error:
        away, check = error, ModelCheck()
    draft, prompts, unchecked = await _read(request, resources, form, check)
    # What is wrong with the request itself is worth more to its sender, and is told first.
    if away is not None and not draft.auto_pull:
        raise away
    await check.refuse_those_that_only_embed(resources, draft.kind)
    admission.require_allowed(draft, prompts, caller)
    queued = await admission.room_for(resources, prompts, caller)
    draft = await with_starting_limit(resources, draft)
    per_call = resources.settings.texts_per_call if draft.kind is BatchKind.EMBED else 1
    document = _document(draft, prompts, check.used, queued, calls=-(-prompts // per_call))
    return {**document, "unchecked": unchecked}


async def _read(
    request: Request, resources: Resources, form: BodyForm, check: ModelCheck
) -> tuple[BatchDraft, int, list[str]]:
    """Read the batch without prompts, their number, and rules that are not checked."""
    known = resources.settings.listed("pull_registries")
    if form is BodyForm.JSON:
        received = await receive_batch(request, resources.settings, check)
        admission.require_known_registries(received.draft, received.draft.prompts, known)
        return received.draft, len(received.draft.prompts), received.unchecked
    body = NdjsonBody(request, resources.settings, check)
    count = 0
    async for piece in body.pieces():
        admission.require_known_registries(body.draft, piece, known, first_index=count)
        count += len(piece)
    return body.draft, count, body.unchecked


def _document(
    draft: BatchDraft, prompts: int, used: list[str], queued: int, *, calls: int
) -> dict[str, Any]:
    delay_s = draft.limits.rate_limit_delay_s
    return {
        "object": "batch.dry_run",
        "valid": True,
        "prompts": prompts,
        "models": used,
        "model": draft.model,
        "kind": draft.kind.value,
        "max_concurrent": draft.limits.max_concurrent,
        "auto_concurrency": draft.auto_concurrency,
        "rate_limit_delay": delay_s,
        "at_least_s": round((calls - 1) * delay_s, 3),
        "timeout_s": draft.timeout_s,
        "max_attempts": draft.max_attempts,
        "priority": draft.priority,
        "expires_in_s": draft.expires_in_s,
        "max_failures": failure_limit(draft.max_failures),
        "fail_on": [
            code.value for code in (DEFAULT_FAIL_ON if draft.fail_on is None else draft.fail_on)
        ],
        "auto_pull": draft.auto_pull,
        "label": draft.label,
        "metadata": draft.metadata,
        "parameters": draft.parameters,
        "queued_prompts": queued,
    }
