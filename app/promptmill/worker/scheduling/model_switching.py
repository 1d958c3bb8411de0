"""Model switching: which load group each host runs next."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from promptmill.domain.model_names import normalise_model
from promptmill.observability.logs import get_logger
from promptmill.observability.metrics import MODEL_SWITCHES
from promptmill.services.wakeups import Signals
from promptmill.store.db.database import Database, Transaction
from promptmill.store.hosts import model_switching
from promptmill.store.hosts.model_switching import HostView, SwitchNeed
from promptmill.worker.scheduling.allocation import WorkerHost

_APART_S = 0.25
"""Seconds between two passes while a group waits that no host runs."""
_VIEW_S = 2.0
"""Age in seconds above which the view of a host's models is refreshed before a decision."""


class ModelSwitcher:
    """The role that moves hosts to other load groups."""

    def __init__(
        self,
        database: Database,
        signals: Signals,
        places: Sequence[WorkerHost],
        *,
        turn_s: float,
        poll_s: float,
    ) -> None:
        self._database = database
        self._signals = signals
        self._places = [place for place in places if place.share.grouped]
        self._all_places = places
        self._turn_ms = round(turn_s * 1000)
        self._poll_s = poll_s
        self._next_sight: dict[int, float] = {}

    async def run_once(self) -> float:
        """Make one pass over all hosts; return seconds until the next.

        Turns end here and priorities count here. A host without any work does not wait for the
        pass: see `consider`.
        """
        waits = False
        for place in self._places:
            several, wish = await self._database.read(_several_and_wish, place.share.key)
            if several and await self._forget_unloaded(place):
                wish = await self._database.read(model_switching.switch_need_of, place.share.key)
            waits = waits or wish is not SwitchNeed.NONE
            if await self._advance(place, wish):
                self._signals.work_available.set()
        return _APART_S if waits else self._poll_s

    async def _forget_unloaded(self, place: WorkerHost) -> bool:
        """Drop groups whose models the host has unloaded; return whether the host was asked."""
        key, now = place.share.key, time.monotonic()
        if not place.host.available or now < self._next_sight.get(key, 0.0):
            return False
        self._next_sight[key] = now + _VIEW_S
        # An older view may precede the loading of a group's model.
        view = await place.host.look(judging=False)
        if view.loaded is not None and view.models_trouble is None:
            await self._database.write(model_switching.forget_unloaded, key, _loaded(place))
        return True

    async def consider(self, place: WorkerHost) -> bool:
        """Whether an idle host was given another group, or has come closer to it."""
        if not place.share.grouped:
            return False
        return await self._advance(
            place, await self._database.read(model_switching.switch_need_of, place.share.key)
        )

    async def _advance(self, place: WorkerHost, wish: SwitchNeed) -> bool:
        if wish is SwitchNeed.NONE or not place.host.available:
            return False
        if wish is SwitchNeed.CHOICE:
            await self._refresh(place)
        missing: set[str] = set()
        changed = await self._database.write(model_switching.advance, self._view_of(place, missing))
        if missing and not changed:
            # That no host has a model is decided by a view newer than the waiting work: a batch
            # with `auto_pull` may have waited until a host had the model.
            hosts = [other.host for other in self._all_places if other.host.available]
            await asyncio.gather(*(host.look_at_models() for host in hosts))
            view = self._view_of(place, set(), believed=frozenset(missing))
            changed = await self._database.write(model_switching.advance, view)
        if changed:
            MODEL_SWITCHES.labels(place.host.url).inc()
            get_logger().debug(
                "A host takes up another group.", action="group_changed", host=place.host.url
            )
        return changed

    async def _refresh(self, place: WorkerHost) -> None:
        seen_at = place.host.view.loaded_at
        if seen_at is None or place.host.seconds_since(seen_at) > _VIEW_S:
            await place.host.look(judging=False)

    def _view_of(
        self, place: WorkerHost, missing: set[str], *, believed: frozenset[str] = frozenset()
    ) -> HostView:
        """The view of the host for the store's decision."""
        return HostView(
            key=place.share.key,
            loaded=_loaded(place),
            can_run=lambda model: self._can_run(place, model, missing, believed),
            turn_ms=self._turn_ms,
        )

    def _can_run(
        self, place: WorkerHost, model: str, missing: set[str], believed: frozenset[str]
    ) -> bool:
        """Whether the host may have the model; true also if no host has it, so that one fails it.

        That several hosts lack the model must be `believed`; otherwise it is added to `missing`.
        """
        if place.host.has_model(model) is not False:
            return True
        if any(other.host.has_model(model) is not False for other in self._all_places):
            return False
        if model in believed or len(self._all_places) == 1:
            return True
        missing.add(model)
        return False


def _loaded(place: WorkerHost) -> frozenset[str]:
    """Normalised names of the models that the host was last seen to have loaded."""
    return frozenset(normalise_model(model.name) for model in place.host.view.loaded or ())


def _several_and_wish(tx: Transaction, host_key: int) -> tuple[bool, SwitchNeed]:
    """Read whether the host runs several groups, and whether it may need another."""
    return model_switching.runs_several(tx, host_key), model_switching.switch_need_of(tx, host_key)
