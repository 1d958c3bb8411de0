"""Forecasts: adds the estimated end (`eta_s`) to batches.

The inputs are read at most a few times a second, however many batches and clients ask, and more
rarely if reading takes long. They are read and computed in threads: with thousands of live batches
either takes longer than the event loop may block.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import replace

from promptmill.domain.batches import Batch
from promptmill.domain.lifecycle import JobState
from promptmill.domain.scheduling.forecast import Forecast
from promptmill.services.resources import Resources
from promptmill.store.batches.scheduling import forecast_inputs

_GOING = frozenset({JobState.QUEUED, JobState.RUNNING})
_FRESH_S = 0.25
"""Seconds for which forecast inputs are reused."""
_APART = 20
"""Forecast inputs are reused for this multiple of the time of their read, if that is longer."""


async def foretold(resources: Resources, batches: Sequence[Batch]) -> list[Batch]:
    """Add `eta_s` to the batches that have an estimate.

    Raises:
        Unavailable: The database does not answer.
    """
    keys = {batch.key for batch in batches if batch.state in _GOING}
    if not keys:
        return list(batches)
    forecast = await _forecast(resources, keys)
    return await asyncio.to_thread(_told, batches, keys, forecast)


def _told(batches: Sequence[Batch], keys: Collection[int], forecast: Forecast) -> list[Batch]:
    return [
        replace(batch, eta_s=_eta_s(batch, forecast)) if batch.key in keys else batch
        for batch in batches
    ]


async def _forecast(resources: Resources, keys: set[int]) -> Forecast:
    last, settings = resources.last_forecast, resources.settings
    forecast = last.forecast
    is_fresh = time.monotonic() <= last.fresh_until
    if forecast is None or not is_fresh or not keys <= forecast.outlook.demands.keys():
        began_at = time.monotonic()
        outlook = await resources.database.read(
            forecast_inputs.read,
            lease_ms=round(settings.lease_s * 1000),
            turn_s=settings.group_turn_s,
            texts_per_call=settings.texts_per_call,
        )
        forecast = Forecast(outlook)
        took_s = time.monotonic() - began_at
        last.forecast = forecast
        last.fresh_until = began_at + max(_FRESH_S, _APART * took_s)
    return forecast


def _eta_s(batch: Batch, forecast: Forecast) -> float | None:
    demand = forecast.outlook.demands.get(batch.key)
    if demand is None:
        return None  # The batch has ended or was paused since it was read.
    left = batch.counts.total - batch.counts.finished
    now = replace(demand, prompts=left, priority=batch.priority, limits=batch.limits)
    is_reliable = batch.window is not None and batch.window.is_reliable
    eta_s = forecast.seconds_left(now, rate=batch.prompts_per_s if is_reliable else None)
    if eta_s is None or batch.expires_at_ms is None:
        return eta_s
    return min(eta_s, max(batch.expires_at_ms - batch.read_at_ms, 0) / 1000)
