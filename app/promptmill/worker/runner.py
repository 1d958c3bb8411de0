"""A worker from start to stop: starts its roles and drains them.

async with working(resources): ... # prompts are worked off meanwhile
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from promptmill.domain.errors import Unavailable, WorkerEnded
from promptmill.domain.workers import WorkerIdentity
from promptmill.observability.logs import get_logger
from promptmill.ollama.hosts import Host
from promptmill.services.resources import OwnWorker, Resources
from promptmill.services.wakeups import Wakeup
from promptmill.store.benchmarks import execution
from promptmill.store.downloads import pulls
from promptmill.store.hosts import usage_limits, workers
from promptmill.store.hosts.hosts import register_host
from promptmill.store.openai import execution as openai
from promptmill.store.queue.leases import HostShare
from promptmill.version import version
from promptmill.worker.backoff import full_jitter
from promptmill.worker.benchmarks.benchmarker import Benchmarker
from promptmill.worker.closer import Closer
from promptmill.worker.dispatcher import Dispatcher
from promptmill.worker.downloads import Puller
from promptmill.worker.executor import Executor
from promptmill.worker.heartbeat import Heartbeat
from promptmill.worker.loops import repeat, wait_for
from promptmill.worker.openai.finalizer import Finalizer
from promptmill.worker.openai.intake import Intake
from promptmill.worker.purger import Purger
from promptmill.worker.recorder import Recorder
from promptmill.worker.reporting.activity import ActivityCounts
from promptmill.worker.reporting.call_log import CallLog
from promptmill.worker.reporting.host_log import HostLog
from promptmill.worker.reporting.reporter import Reporter
from promptmill.worker.rescuer import Rescuer
from promptmill.worker.scheduling.adaptive_concurrency import ConcurrencyAdapter
from promptmill.worker.scheduling.allocation import WorkerHost
from promptmill.worker.scheduling.model_switching import ModelSwitcher
from promptmill.worker.scheduling.unloading import KeptModels, Unloader

_LOOK_EVERY_S = 5.0
"""Seconds between two polls of each of several hosts."""
_LAST_COMMIT_S = 5.0
"""Seconds for which the database may take the last outcomes of a stopping worker."""


@contextlib.asynccontextmanager
async def working(resources: Resources) -> AsyncGenerator[WorkerIdentity, None]:
    """Run a worker during the block, then stop it gracefully; yield the worker's identity.

    While stopping, no prompts are claimed, leases are renewed, running calls may end until the
    configured deadline, and calls that still run then are given back to the queue, uncharged.

    Raises:
        Unavailable: Another worker uses the same SQLite file, or the database is away.
        WorkerEnded: A role has ended; it has cancelled the block.
    """
    if not resources.database.lock_for_one_worker():
        raise Unavailable(
            "Another Promptmill works off this SQLite file already; stop it, give this one another"
            " DATABASE_URL, or start it with --no-worker."
        )
    identity = _identity(resources)
    worker = Worker(resources, identity=identity, places=await _places(resources))
    resources.own_workers[identity.id] = worker.own
    try:
        await worker.take_up()
        async with asyncio.TaskGroup() as roles:
            running = worker.start(roles)
            try:
                yield identity
            finally:
                await worker.drain()
                for role in running:
                    role.cancel()
        await worker.say_goodbye()
    except BaseExceptionGroup:
        if worker.own.ended is not None:
            raise WorkerEnded(worker.own.ended) from None  # the log has told of it
        raise
    finally:
        if worker.own.ended is None:
            del resources.own_workers[identity.id]


async def _places(resources: Resources) -> Sequence[WorkerHost]:
    return [
        WorkerHost(
            host=host,
            share=HostShare(
                key=await resources.database.write(register_host, host.url, host.machine),
                url=host.url,
                slots=_slots_of_batches(host, resources),
                grouped=resources.settings.grouping,
            ),
        )
        for host in resources.hosts
    ]


def _slots_of_batches(host: Host, resources: Resources) -> int | None:
    """Slots of the host for prompts of batches; the others are for online calls."""
    slots = host.spec.slots
    return None if slots is None else max(slots - resources.settings.online_slots, 1)


def _identity(resources: Resources) -> WorkerIdentity:
    host_name, pid = socket.gethostname(), os.getpid()
    return WorkerIdentity(
        # The name is for people; a lease is identified by its token.
        id=f"{host_name[:32]}-{pid}-{secrets.token_hex(4)}",
        host_name=host_name[:255],
        pid=pid,
        version=version(),
        concurrency=resources.settings.concurrency,
    )


class Worker:
    """The roles of one worker, and the objects that they share."""

    def __init__(
        self, resources: Resources, *, identity: WorkerIdentity, places: Sequence[WorkerHost]
    ) -> None:
        settings, signals = resources.settings, resources.signals
        database = resources.database.for_roles()
        self._identity = identity
        self._database = database
        self._signals = signals
        self._places = places
        self._drain_s = settings.drain_s
        self._keeps_models = settings.grouping
        backoff_s = full_jitter(base_s=settings.retry_base_s, most_s=settings.retry_most_s)
        self._stopping = False
        self._host_logs = {place.share.key: HostLog(place.host) for place in places}
        self.recorder = Recorder(signals.work_available)
        self.activity = ActivityCounts()
        kept = KeptModels()
        self.executor = Executor(
            {place.share.key: place.host for place in places},
            self.recorder,
            backoff_s=backoff_s,
            kept=kept if settings.grouping else None,
        )
        self.grouping = ModelSwitcher(
            database,
            signals,
            places,
            turn_s=settings.group_turn_s,
            poll_s=settings.poll_s,
        )
        self.dispatcher = Dispatcher(
            database=database,
            signals=signals,
            places=places,
            grouping=self.grouping,
            executor=self.executor,
            recorder=self.recorder,
            activity=self.activity,
            call_log=CallLog(with_texts=settings.log_texts),
            owner=identity.id,
            concurrency=settings.concurrency,
            lease_s=settings.lease_s,
            poll_s=settings.poll_s,
            aging_s=settings.aging_s,
            texts_per_call=settings.texts_per_call,
        )
        self.own = OwnWorker(last_exchange_at=lambda: self.dispatcher.last_exchange_at)
        self.heartbeat = Heartbeat(
            database=database,
            executor=self.executor,
            dispatcher=self.dispatcher,
            activity=self.activity,
            identity=identity,
            lease_s=settings.lease_s,
            every_s=settings.heartbeat_s,
            stand_down=self._stand_down,
        )
        self.rescuer = Rescuer(
            database=database,
            signals=signals,
            executor=self.executor,
            owner=identity.id,
            lease_s=settings.lease_s,
            backoff_s=backoff_s,
            retry_most_s=settings.retry_most_s,
            retry_after_most_s=settings.retry_after_most_s,
        )
        self.closer = Closer(
            database=database, signals=signals, executor=self.executor, every_s=settings.poll_s
        )
        self.benchmarker = Benchmarker(
            database=database,
            signals=signals,
            host=resources.host,
            host_key=places[0].share.key,
            owner=identity.id,
            lease_s=settings.lease_s,
            heartbeat_s=settings.heartbeat_s,
            poll_s=settings.poll_s,
        )
        self.unloader = Unloader(
            database=database, kept=kept, places=places, every_s=settings.poll_s
        )
        self.purger = Purger(database)
        self.reporter = Reporter(
            database, places, worker_id=identity.id, every_s=settings.heartbeat_s
        )
        self.adapter = ConcurrencyAdapter(database=database, signals=signals)
        self.puller = Puller(
            database=database,
            signals=signals,
            places=places,
            owner=identity.id,
            lease_s=settings.lease_s,
            backoff_s=backoff_s,
        )
        self.intake = Intake(resources, database, owner=identity.id)
        self.finalizer = Finalizer(resources, database, owner=identity.id)

    async def take_up(self) -> None:
        """Register the worker, and return the prompts that a predecessor left running."""
        await self._database.write(workers.register, self._identity)
        for place in self._places:
            await self._database.write(usage_limits.forget, place.share.key)
        # The hosts' models must be known before the first prompt is given to one of several.
        await self._look_at_hosts()
        if self._keeps_models:
            await self.unloader.take_up()
        if self._database.is_sqlite:
            await self.rescuer.take_everything_back()
            await self._database.write(execution.take_all_back)
            await self._database.write(pulls.take_all_back)
            await self._database.write(openai.free_all)

    def start(self, roles: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Start every role."""
        signals = self._signals
        return [
            roles.create_task(self._play(name, run_once, wake), name=name)
            for name, run_once, wake in (
                ("dispatcher", self.dispatcher.run_once, signals.work_available),
                ("heartbeat", self.heartbeat.run_once, asyncio.Event()),
                ("rescuer", self.rescuer.run_once, asyncio.Event()),
                ("closer", self.closer.run_once, signals.job_may_end),
                ("grouping", self.grouping.run_once, asyncio.Event()),
                ("benchmarker", self.benchmarker.run_once, signals.benchmark_waiting),
                ("reporter", self.reporter.run_once, asyncio.Event()),
                ("unloader", self.unloader.run_once, asyncio.Event()),
                ("purger", self.purger.run_once, signals.purge_requested),
                ("adapter", self.adapter.run_once, asyncio.Event()),
                ("puller", self.puller.run_once, signals.models_awaited),
                # Two of each, so that a large file does not delay a small one.
                ("intake", self.intake.run_once, signals.file_to_read),
                ("intake 2", self.intake.run_once, signals.file_to_read),
                ("finalizer", self.finalizer.run_once, signals.files_to_write),
                ("finalizer 2", self.finalizer.run_once, signals.files_to_write),
                ("prober", self._probe_hosts, asyncio.Event()),
                ("onlooker", self._look_at_hosts, asyncio.Event()),
            )
        ]

    async def _play(
        self, role: str, run_once: Callable[[], Awaitable[float]], wake: asyncio.Event
    ) -> None:
        """Run a role for ever. A role that ends before a stop ends the worker, with a log line."""
        try:
            await repeat(role, run_once, wake)
        except (Exception, asyncio.CancelledError) as error:
            if self._stopping or self.own.ended is not None:
                raise
            self.own.ended = f"The role {role} of worker {self._identity.id} has ended."
            get_logger().exception(
                "A role of the worker has ended; the worker ends.", action="role_ended", role=role
            )
            raise WorkerEnded(self.own.ended) from error

    def _stand_down(self, reason: str) -> None:
        """Begin no more work, because the schema has changed; running work continues."""
        self.own.outdated = reason
        get_logger().error(reason, action="schema_changed")
        self.dispatcher.claiming = False
        self.intake.claiming = self.finalizer.claiming = False
        self.benchmarker.stand_down()
        self.puller.stand_down()

    async def _probe_hosts(self) -> float:
        """Ask quarantined hosts whether they are back; return seconds until the next call."""
        return min(await asyncio.gather(*map(self._probe, self._places)))

    async def _probe(self, place: WorkerHost) -> float:
        host = place.host
        log = self._host_logs[place.share.key]
        # A quarantine that began and ended between two calls is logged, too.
        log.note()
        was_available = host.available
        wait_s = await host.probe()
        log.note()
        if host.available and not was_available:
            self._signals.work_available.set()
        return wait_s

    async def _look_at_hosts(self) -> float:
        """Poll several hosts; a single host is asked only when its state matters."""
        if len(self._places) > 1:
            await asyncio.gather(*(place.host.look() for place in self._places))
        return _LOOK_EVERY_S

    async def drain(self) -> None:
        """Claim no more prompts, wait for calls to end, then return the rest to the queue."""
        self._stopping = True
        self.dispatcher.claiming = self.intake.claiming = self.finalizer.claiming = False
        self._signals.work_available.set()
        log = get_logger()
        log.info("Stopping.", action="drain", running=self.executor.running)
        await self.benchmarker.stop()
        await self.puller.stop()
        if self.own.ended is not None:
            # No role is left to record or renew: the prompts go back with their leases.
            self.executor.abort_all()
            return
        await wait_for(self.dispatcher.settled, _LAST_COMMIT_S)
        if not await wait_for(self.executor.empty, self._drain_s):
            log.info("Giving back.", action="release", running=self.executor.running)
            self.executor.abort_all()
            if not await wait_for(self.executor.empty, _LAST_COMMIT_S):
                # The leases expire, and the rescuer of the next worker takes over.
                log.warning("The database did not take the last outcomes.", action="drain_failed")
            self._signals.tell_others(Wakeup.WORK)

    async def say_goodbye(self) -> None:
        """Record that this worker has stopped, so that it does not count as lost."""
        try:
            await self.activity.write(self._database)
            await self._database.write(openai.free_of, self._identity.id)
            await self._database.write(
                workers.mark_stopped,
                self._identity.id,
                finished=self.dispatcher.finished,
                fenced=self.dispatcher.fenced,
            )
        except Unavailable as error:
            get_logger().warning(str(error), action="goodbye_failed")
