"""Keeping a model loaded between the prompts of a batch, and unloading it after the last.

With a short `keep_alive`, such as 0, Ollama would load the model again for each prompt. Calls are
therefore sent with a longer one, and the model is unloaded once it has been idle for the requested
time and no other work needs it.

Only this process has the list of kept models. If it dies, a model stays loaded for the longer
`keep_alive`, usually five minutes; a worker that starts reads the recent batches from the database
and continues.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from promptmill.domain.calls import Call
from promptmill.domain.limits import Limits
from promptmill.domain.model_names import normalise_model
from promptmill.domain.scheduling.load_groups import (
    USUAL_STAY_S,
    keep_alive_for,
    seconds_to_stay,
)
from promptmill.observability.logs import get_logger
from promptmill.ollama.failures.table import OllamaError
from promptmill.ollama.hosts import LOOK_S
from promptmill.store.batches.scheduling import model_demand
from promptmill.store.batches.scheduling.model_demand import LastStay
from promptmill.store.benchmarks import registry as benchmarks
from promptmill.store.db.database import Database, Transaction
from promptmill.store.queue.leases import Lease
from promptmill.worker.scheduling.allocation import WorkerHost

_Key = tuple[int, str]
"""Host and normalised name of a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptModel:
    """Model that a host keeps for longer than the batch requested."""

    asked_s: float
    """Seconds for which the model was to stay after its last prompt."""
    used_at: float
    """Monotonic seconds at which its last call ended."""
    until: float
    """Monotonic seconds at which Ollama unloads the model."""

    @property
    def due_at(self) -> float:
        """Moment at which the model is to be unloaded."""
        return self.used_at + self.asked_s


class KeptModels:
    """Models that hosts keep for longer than requested, at most one entry for each."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives monotonic seconds."""
        self._clock = clock
        self._kept: dict[_Key, KeptModel] = {}

    def as_sent(self, call: Call, limits: Limits) -> Call:
        """The call with a `keep_alive` that lasts until the next prompt."""
        sent = keep_alive_for(call.parameters, delay_s=limits.rate_limit_delay_s)
        if sent == call.parameters.get("keep_alive"):
            return call
        return replace(call, parameters={**call.parameters, "keep_alive": sent})

    def note_end(self, lease: Lease) -> None:
        """Note the end of a call; as in Ollama, the last call decides how long the model stays."""
        key = (lease.host_key, normalise_model(lease.call.model))
        asked_s = seconds_to_stay(lease.call.parameters)
        sent = keep_alive_for(lease.call.parameters, delay_s=lease.limits.rate_limit_delay_s)
        if asked_s is None or sent == lease.call.parameters.get("keep_alive"):
            self._kept.pop(key, None)
            return
        now = self._clock()
        self._kept[key] = KeptModel(asked_s=asked_s, used_at=now, until=now + float(sent))

    def restore(self, host_keys: Iterable[int], stays: Sequence[LastStay]) -> None:
        """Add the models that an earlier process kept at any of these hosts."""
        now = self._clock()
        for stay in stays:
            asked_s = seconds_to_stay(stay.parameters)
            used_at = now - stay.ended_s_ago
            for key in [(host_key, stay.model) for host_key in host_keys]:
                if asked_s is None or asked_s >= USUAL_STAY_S:
                    self._kept.pop(key, None)
                else:
                    self._kept[key] = KeptModel(
                        asked_s=asked_s, used_at=used_at, until=used_at + USUAL_STAY_S
                    )

    def due(self) -> Sequence[tuple[_Key, KeptModel]]:
        """Models whose time is over; models that Ollama has unloaded itself are dropped."""
        now = self._clock()
        self._kept = {key: kept for key, kept in self._kept.items() if kept.until > now}
        return [(key, kept) for key, kept in self._kept.items() if kept.due_at <= now]

    def forget(self, key: _Key, kept: KeptModel) -> None:
        """Drop an unloaded model, unless it was used again."""
        if self._kept.get(key) == kept:
            del self._kept[key]


class Unloader:
    """The role that unloads models whose batches requested that, once no work needs them."""

    def __init__(
        self, *, database: Database, kept: KeptModels, places: Sequence[WorkerHost], every_s: float
    ) -> None:
        self._database = database
        self._kept = kept
        self._hosts = {place.share.key: place.host for place in places}
        self._every_s = every_s

    async def take_up(self) -> None:
        """Read the models that an earlier worker may have left loaded."""
        stays = await self._database.read(
            model_demand.last_stays, within_ms=round(USUAL_STAY_S * 1000)
        )
        self._kept.restore(self._hosts, stays)

    async def run_once(self) -> float:
        """Unload models that are due; return the seconds until the next call.

        Only reads the database, and only while a model is due, so that no claim waits for it.
        """
        due = [(key, kept) for key, kept in self._kept.due() if self._hosts[key[0]].available]
        if due:
            wanted = await self._database.read(_wanted, {name for (_, name), _ in due})
            idle = [(key, kept) for key, kept in due if key[1] not in wanted]
            await asyncio.gather(*(self._unload(key, kept) for key, kept in idle))
        return self._every_s

    async def _unload(self, key: _Key, kept: KeptModel) -> None:
        host_key, model = key
        host = self._hosts[host_key]
        try:
            loaded = await host.client.list_running(within_s=LOOK_S)
            is_loaded = any(normalise_model(one.name) == model for one in loaded)
            if is_loaded:
                await host.client.unload(model)
        except OllamaError as error:
            # Another client uses the model, or the host is busy: Ollama unloads it later.
            get_logger().info(str(error), action="unload_failed", host=host.url, model=model)
            is_loaded = False
        if is_loaded:
            get_logger().info(
                "A model was unloaded, as its batch asked for.",
                action="model_unloaded",
                host=host.url,
                model=model,
            )
        self._kept.forget(key, kept)


def _wanted(tx: Transaction, names: set[str]) -> set[str]:
    """Models that some work needs; a benchmark needs all of its own."""
    if benchmarks.any_alive(tx):
        return names
    return {name for name in names if model_demand.is_wanted(tx, name)}
