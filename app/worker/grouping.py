"""Deciding which model each host runs next: looking, and telling the store what was seen."""

from __future__ import annotations

import time
from collections.abc import Sequence

from app.domain.model_names import normalise_model
from app.observability.logs import get_logger
from app.store import groups
from app.store.database import Database
from app.store.groups import HostView, Wish
from app.worker.places import Place

_BUSY_APART_S = 0.25
"""Between two looks at what waits for a host, while it has work."""
_VIEW_S = 2.0
"""Age from which a view of a host's models is refreshed before anything is decided by it."""


class Grouping:
    """Lets hosts take up other groups when it is time."""

    def __init__(self, database: Database, places: Sequence[Place], *, turn_s: float) -> None:
        self._database = database
        self._places = places
        self._turn_ms = round(turn_s * 1000)
        self._next_look: dict[int, float] = {}

    async def consider(self, place: Place, *, busy: bool) -> bool:
        """Whether the host has been given another group, or is closer to one.

        To be asked when a claim there came back short; a busy caller is answered at most four times
        a second, because a claim comes back short for many a reason.
        """
        key, now = place.share.key, time.monotonic()
        if not place.share.grouped or (busy and now < self._next_look.get(key, 0.0)):
            return False
        self._next_look[key] = now + _BUSY_APART_S
        wish = await self._database.read(groups.wish_of, key)
        if wish is Wish.NONE:
            return False
        if wish is Wish.CHOICE:
            await self._refresh(place)
        changed = await self._database.write(groups.advance, self._view_of(place))
        if changed:
            get_logger().debug(
                "A host takes up another group.", action="group_changed", host=place.host.url
            )
        return changed

    async def _refresh(self, place: Place) -> None:
        seen_at = place.host.view.loaded_at
        if seen_at is None or place.host.seconds_since(seen_at) > _VIEW_S:
            await place.host.look(judging=False)

    def _view_of(self, place: Place) -> HostView:
        loaded = place.host.view.loaded or ()
        return HostView(
            key=place.share.key,
            loaded=frozenset(normalise_model(model.name) for model in loaded),
            can_run=lambda model: self._can_run(place, model),
            turn_ms=self._turn_ms,
        )

    def _can_run(self, place: Place, model: str) -> bool:
        """Whether the host may have the model; also when no host has it, so that one says so."""
        if place.host.has_model(model) is not False:
            return True
        return all(other.host.has_model(model) is False for other in self._places)
