"""Job of a batch of the dialect, made from its options within the limits of its key.

A client written for OpenAI does not choose limits. Missing options are therefore bounded by the
key, and only given ones can be refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from promptmill.domain.access.keys import KeyLimits
from promptmill.domain.batches import BatchDraft, BatchKind, FailureLimit
from promptmill.domain.limits import Limits
from promptmill.services.openai.translation.translate import PARAMETERS, Endpoint

_TIMEOUT_S: Final = 600.0
_AUTO: Final = "auto"
_PRIORITY: Final = 0


def with_defaults_of_key(options: Mapping[str, Any], limits: KeyLimits) -> Mapping[str, Any]:
    """Fill in the options whose usual defaults the key does not allow."""
    found: dict[str, Any] = {}
    if limits.max_concurrent is not None:
        # `auto` might exceed the key's limit.
        found["max_concurrent"] = min(Limits().max_concurrent, limits.max_concurrent)
    if limits.min_priority is not None and limits.min_priority > _PRIORITY:
        found["priority"] = limits.min_priority
    elif limits.max_priority is not None and limits.max_priority < _PRIORITY:
        found["priority"] = limits.max_priority
    return found | dict(options)


def job_draft(
    endpoint: str,
    options: Mapping[str, Any],
    *,
    metadata: Mapping[str, str] | None,
    key_id: str | None,
) -> BatchDraft:
    """Draft of a batch's job, without its prompts and its model."""
    usual = Limits()
    wanted = options.get("max_concurrent", _AUTO)
    is_auto = wanted == _AUTO
    max_failures = options.get("max_failures")
    return BatchDraft(
        prompts=(),
        model="",
        kind=BatchKind.EMBED if endpoint == Endpoint.EMBEDDINGS else BatchKind.GENERATE,
        limits=Limits(
            max_concurrent=usual.max_concurrent if is_auto else wanted,
            rate_limit_delay_s=options.get("rate_limit_delay", 0.0),
        ),
        auto_concurrency=is_auto,
        parameters=dict(PARAMETERS),
        timeout_s=options.get("timeout_s", _TIMEOUT_S),
        max_attempts=options.get("max_attempts", 3),
        priority=options.get("priority", _PRIORITY),
        metadata=metadata or {},
        max_failures=None if max_failures is None else FailureLimit(str(max_failures)),
        auto_pull=options.get("auto_pull", False),
        key_id=key_id,
    )
