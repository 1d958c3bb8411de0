"""The puller: downloads models that batches wait for, each pull under a lease of its own.

`store.downloads.planning` decides which models are pulled and which batches may start. This module
observes the hosts for that decision and reads the streams. No transaction is open meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from promptmill.domain.errors import Unavailable
from promptmill.domain.model_names import normalise_model
from promptmill.domain.outcomes import Blame, Failed
from promptmill.domain.scheduling.downloads import Progress, Sight
from promptmill.observability.logs import get_logger
from promptmill.observability.metrics import PULLED_BYTES, PULLS
from promptmill.ollama.failures.table import OllamaError
from promptmill.ollama.hosts import Host
from promptmill.ollama.models import PullProgress
from promptmill.services.wakeups import Signals, Wakeup
from promptmill.store.db.database import Database
from promptmill.store.downloads import planning, pulls
from promptmill.store.downloads.pulls import PullLease
from promptmill.worker.scheduling.allocation import WorkerHost

_IDLE_S = 2.0
"""Seconds until the next pass when no batch waits for a model."""
_APART_S = 1.0
"""Seconds between two plans while a batch waits, and between two reports of a pull."""
_HOST_REST_S = 2.0
"""Seconds until a host that failed to take a pull is tried again."""


class Puller:
    """The role that plans pulls while batches wait for models, and makes those that it leased."""

    def __init__(
        self,
        *,
        database: Database,
        signals: Signals,
        places: Sequence[WorkerHost],
        owner: str,
        lease_s: float,
        backoff_s: Callable[[int], float],
    ) -> None:
        self._database = database
        self._signals = signals
        self._places = places
        self._hosts = {place.share.key: place.host for place in places}
        self._everywhere = not places[0].share.grouped
        self._owner = owner
        self._lease_ms = round(lease_s * 1000)
        self._backoff_s = backoff_s
        self._stopping = asyncio.Event()
        self._planning = asyncio.Lock()
        self._pulling: set[asyncio.Task[None]] = set()
        self._log = get_logger()

    async def run_once(self) -> float:
        """Plan once and begin the due pulls; returns seconds until the next call."""
        if self._stopping.is_set():
            return _IDLE_S
        since_ms = await self._database.read(planning.looked_at_ms)
        if since_ms is None:
            return _IDLE_S
        sights = await asyncio.gather(*map(_sight, self._places))
        async with self._planning:
            if self._stopping.is_set():
                return _IDLE_S
            plan = await self._database.write(
                planning.plan,
                sights,
                since_ms=since_ms,
                everywhere=self._everywhere,
                owner=self._owner,
                lease_ms=self._lease_ms,
            )
            for lease in plan.leases:
                task = asyncio.create_task(self._pull(lease), name=f"pull-{lease.key}")
                self._pulling.add(task)
                task.add_done_callback(self._ended)
        if plan.released:
            self._signals.spread(Wakeup.WORK)
        return _APART_S

    async def stop(self) -> None:
        """Begin no more pulls; return the running ones to the queue for another worker."""
        self.stand_down()
        # A pull that is just being leased is returned as well.
        async with self._planning:
            pulling = set(self._pulling)
        if pulling:
            await asyncio.wait(pulling)

    def stand_down(self) -> None:
        """`stop`, without waiting for it."""
        self._stopping.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._pulling.discard(task)
        # The waiting batches may start now, or another attempt is due.
        self._signals.models_awaited.set()
        self._signals.job_changed.send()
        if not task.cancelled() and (error := task.exception()) is not None:
            # The lease expires, and the next worker continues where this one stopped.
            self._log.error("A pull was left.", action="pull_left", exc_info=error)

    async def _pull(self, lease: PullLease) -> None:
        """Make one attempt, and store its end."""
        host = self._hosts[lease.host_key]
        told = {"host": host.url, "model": lease.name}
        self._log.info("A model is pulled.", action="pull_begins", **told)
        stream = _Stream(host, lease.name)
        reading = asyncio.create_task(stream.read(), name=f"pull-stream-{lease.key}")
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            is_ours = await self._watch(lease, stream, reading, stopping)
        finally:
            # Ollama stops when the stream is closed.
            for task in (reading, stopping):
                task.cancel()
            await asyncio.wait({reading, stopping})
        if not is_ours:
            PULLS.labels("given_up").inc()
            self._log.info("A pull is given up.", action="pull_given_up", **told)
        elif reading.cancelled():
            await self._database.write(pulls.give_back, lease)
        elif (failed := reading.result()) is None:
            await self._database.write(pulls.succeed, lease, stream.progress)
            PULLS.labels("succeeded").inc()
            if stream.progress is not None:
                PULLED_BYTES.labels(host.url).inc(stream.progress.completed_bytes)
            self._log.info("A model was pulled.", action="pull_succeeded", **told)
        else:
            await self._note_failure(lease, failed)
            PULLS.labels("failed").inc()
            self._log.warning(failed.message, action="pull_failed", **told)

    async def _watch(
        self,
        lease: PullLease,
        stream: _Stream,
        reading: asyncio.Task[Failed | None],
        stopping: asyncio.Task[bool],
    ) -> bool:
        """Store the progress until the stream ends or the worker stops; False: lease lost."""
        while True:
            await asyncio.wait(
                {reading, stopping}, timeout=_APART_S, return_when=asyncio.FIRST_COMPLETED
            )
            if reading.done() or stopping.done():
                return True
            # A database that is away does not end the download: the next report may be in time.
            with contextlib.suppress(Unavailable):
                if not await self._database.write(
                    pulls.report, lease, stream.progress, lease_ms=self._lease_ms
                ):
                    return False
                self._signals.job_changed.send()

    async def _note_failure(self, lease: PullLease, failed: Failed) -> None:
        is_charged = failed.blame not in {Blame.HOST, Blame.GATEWAY, Blame.LIMIT}
        await self._database.write(
            pulls.fail,
            lease,
            failed.message,
            wait_s=self._backoff_s(lease.failures + 1) if is_charged else _HOST_REST_S,
            is_charged=is_charged,
            is_final=failed.blame is Blame.PROMPT,
        )


class _Stream:
    """The stream of a host that pulls a model."""

    def __init__(self, host: Host, name: str) -> None:
        self._host = host
        self._name = name
        self._detail: str | None = None
        self._layers: dict[str, PullProgress] = {}

    @property
    def progress(self) -> Progress | None:
        """The progress of the pull; None before the first line."""
        if self._detail is None:
            return None
        layers = self._layers.values()
        return Progress(
            detail=self._detail,
            completed_bytes=sum(layer.completed or 0 for layer in layers),
            total_bytes=sum(layer.total or 0 for layer in layers) if layers else None,
        )

    async def read(self) -> Failed | None:
        """Read the stream to its end; returns the error, None when the host lists the model."""
        try:
            async with contextlib.aclosing(self._host.client.pull(self._name)) as lines:
                async for line in lines:
                    self._detail = line.status
                    if line.digest is not None:
                        self._layers[line.digest] = line
        except OllamaError as error:
            return error.failed
        await self._host.look_at_models()
        return None


async def _sight(place: WorkerHost) -> Sight:
    """The host's models now; the last known ones of a busy host that does not respond."""
    host = place.host
    has_told = await host.look_at_models()
    is_there = has_told or host.available
    return Sight(
        host_key=place.share.key,
        models=frozenset(filter(host.may_run, host.view.names)) if is_there else frozenset(),
        is_open=has_told and host.available,
        only=None
        if host.spec.models is None
        else frozenset(map(normalise_model, host.spec.models)),
    )
