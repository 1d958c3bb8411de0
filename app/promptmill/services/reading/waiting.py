"""Addition of `eta_s` and `waiting_for` to batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from promptmill.domain.batches import Batch, WaitingFor
from promptmill.domain.scheduling.waiting import is_blocked, may_wait, waiting_for
from promptmill.services.forecasts import foretold
from promptmill.services.resources import Resources
from promptmill.store.batches.scheduling import waiting


async def with_prospects(resources: Resources, batches: Sequence[Batch]) -> list[Batch]:
    """Add `eta_s` and `waiting_for` to the batches that have them.

    One read serves all batches; none is made if prompts of each run.

    Raises:
        Unavailable: The database does not respond.
    """
    told = await foretold(resources, batches)
    keys = [batch.key for batch in told if may_wait(batch)]
    if not keys:
        return told
    standing = await resources.database.read(
        waiting.read, keys, lease_ms=round(resources.settings.lease_s * 1000)
    )
    return [_with_reason(batch, waiting_for(batch, standing)) for batch in told]


def _with_reason(batch: Batch, reason: WaitingFor | None) -> Batch:
    if reason is None:
        return batch
    eta_s = None if is_blocked(reason) else batch.eta_s
    return replace(batch, waiting_for=reason, eta_s=eta_s)
