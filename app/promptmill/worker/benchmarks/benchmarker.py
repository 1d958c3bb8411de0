"""The benchmarker: leases benchmarks and measures them, one at a time, with exclusive hosts.

During the measurement the lease is renewed, cancellation is watched for, and runs are stored, all
concurrently.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Sequence

from promptmill.domain.benchmarks.records import BenchmarkRun, Environment
from promptmill.domain.errors import Unavailable
from promptmill.domain.lifecycle import JobState
from promptmill.observability.logs import get_logger
from promptmill.ollama.hosts import Host
from promptmill.services.wakeups import Signals, Wakeup
from promptmill.store.benchmarks import execution, registry
from promptmill.store.benchmarks.execution import BenchmarkLease
from promptmill.store.db.database import Database, Transaction
from promptmill.store.hosts import exclusivity
from promptmill.version import version
from promptmill.worker.benchmarks.measurement import Reporting, Session

_LOOK_S = 0.25
"""Seconds between two checks whether the host has drained, and between two renewals."""
_AGAIN_S = 1.0
"""Seconds until a refused write is tried again."""


_now = functools.partial(
    time.clock_gettime,
    # The monotonic clock that continues while the machine sleeps.
    getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC),
)


class Benchmarker:
    """The role that measures benchmarks waiting for this worker's hosts."""

    def __init__(
        self,
        *,
        database: Database,
        signals: Signals,
        host: Host,
        host_key: int,
        owner: str,
        lease_s: float,
        heartbeat_s: float,
        poll_s: float,
    ) -> None:
        self._database = database
        self._signals = signals
        self._host = host
        self._host_key = host_key
        self._owner = owner
        self._lease_s = lease_s
        self._until = 0.0
        """Moment at which the lease expires unless it is renewed."""
        self._lease_ms = round(lease_s * 1000)
        self._heartbeat_s = heartbeat_s
        self._poll_s = poll_s
        self._stopping = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._log = get_logger()

    async def run_once(self) -> float:
        """Measure the next benchmark to its end; returns seconds until the next call."""
        if self._stopping.is_set():
            return self._poll_s
        if not await self._database.read(registry.any_alive):
            return self._poll_s
        self._announce(await self._database.write(registry.end_cancelled))
        if not self._host.available:
            return self._poll_s
        # Set before the lease is taken, so that a stop does not miss it.
        self._idle.clear()
        try:
            if self._stopping.is_set():
                return self._poll_s
            asked_at = _now()
            lease = await self._database.write(
                execution.take_up,
                owner=self._owner,
                lease_ms=self._lease_ms,
                host_key=self._host_key,
            )
            if lease is None:
                return self._poll_s
            try:
                self._until = asked_at + self._lease_s
                await self._hold(lease)
            finally:
                self._signals.spread(Wakeup.WORK)
        finally:
            self._idle.set()
        return 0.0

    async def stop(self) -> None:
        """Begin no more benchmarks; return the running one to the queue for the next worker."""
        self.stand_down()
        await self._idle.wait()

    def stand_down(self) -> None:
        """`stop`, without waiting for it."""
        self._stopping.set()
        self._signals.job_changed.send()

    async def _hold(self, lease: BenchmarkLease) -> None:
        """Measure under the lease, until the end or until the lease is lost."""
        self._log.info(
            "A benchmark begins.",
            action="benchmark_begins",
            benchmark_id=lease.benchmark.id,
            session=lease.session,
        )
        writer = _Writer(self._database, lease)
        session = Session(
            lease,
            self._host,
            Reporting(run=writer.add, noted=writer.note),
            service_version=version(),
            holds=lambda: _now() < self._until,
        )
        storing = asyncio.create_task(writer.run(), name="benchmark-writer")
        measuring = asyncio.create_task(self._measure(session), name="benchmark")
        try:
            state = await self._watch(lease, session, measuring, storing)
        finally:
            measuring.cancel()
            await asyncio.wait({measuring})
            await writer.finish(storing)
        if state is None or writer.is_fenced:
            self._log.warning(
                "The lease on a benchmark was lost.",
                action="benchmark_lost",
                benchmark_id=lease.benchmark.id,
            )
        elif state is JobState.CANCELLING or not (measuring.cancelled() or session.is_over):
            await self._end(lease, session, measuring)
        else:
            await self._database.write(execution.give_back, lease)

    async def _measure(self, session: Session) -> None:
        # Running prompts and pulls at the host may end; no more are started.
        await self._database.write(exclusivity.wait_for_claims)
        while not await self._database.read(exclusivity.is_quiet, self._host_key):  # noqa: ASYNC110 - other processes work there too
            await asyncio.sleep(_LOOK_S)
        await session.run()

    async def _watch(
        self,
        lease: BenchmarkLease,
        session: Session,
        measuring: asyncio.Task[None],
        storing: asyncio.Task[None],
    ) -> JobState | None:
        """Renew the lease until the measurement ends; return the benchmark's state.

        The measurement also ends if storing has stopped. None if the lease was lost. A session
        whose lease could not be renewed in time waits for the database.
        """
        while True:
            changed = self._signals.job_changed.listen()
            asked_at = _now()
            try:
                state = await self._database.write(execution.renew, lease, lease_ms=self._lease_ms)
            except Unavailable as error:
                self._log.warning(str(error), action="benchmark_unrenewed")
                if session.is_over and not (self._stopping.is_set() or storing.done()):
                    await asyncio.sleep(_AGAIN_S)
                    continue
                state = JobState.RUNNING
            else:
                self._until = asked_at + self._lease_s
            if state is not JobState.RUNNING or self._stopping.is_set():
                return state
            if measuring.done() or storing.done():
                return state
            await changed.wait(self._heartbeat_s, measuring, storing)
            if not measuring.done():
                await asyncio.wait({measuring}, timeout=_LOOK_S)

    async def _end(
        self, lease: BenchmarkLease, session: Session, measuring: asyncio.Task[None]
    ) -> None:
        error = session.refusal or session.first_error
        has_success = session.has_success and session.refusal is None
        if not measuring.cancelled() and (bug := measuring.exception()) is not None:
            self._log.error(
                "A benchmark failed in a way nobody foresaw.",
                action="benchmark_failed",
                benchmark_id=lease.benchmark.id,
                exc_info=bug,
            )
            error = f"Promptmill itself failed: {type(bug).__name__}"
            if isinstance(bug, Unavailable):
                # The benchmark is not at fault: another session continues where this one stopped.
                await self._database.write(execution.give_back, lease)
                return
        ended = await self._database.write(
            execution.end, lease, has_success=has_success, error=error
        )
        self._announce([ended] if ended else [])

    def _announce(self, ended: Sequence[str]) -> None:
        for benchmark_id in ended:
            self._log.info(
                "A benchmark has ended.", action="benchmark_ended", benchmark_id=benchmark_id
            )
        if ended:
            self._signals.spread(Wakeup.ENDED)


class _Writer:
    """Stores runs beside the measurement, as many in one commit as have gathered.

    Runs that the database does not take are kept and tried again.
    """

    def __init__(self, database: Database, lease: BenchmarkLease) -> None:
        self._database = database
        self._lease = lease
        self._waiting: list[BenchmarkRun] = []
        self._environment: Environment | None = None
        self._skipped = 0
        self._something = asyncio.Event()
        self._closing = False
        self.is_fenced = False
        """Whether the lease was found to be lost."""

    def add(self, run: BenchmarkRun) -> None:
        """Queue a run to be stored."""
        self._waiting.append(run)
        self._something.set()

    async def note(self, environment: Environment, skipped: int) -> None:
        """Queue the environment to be stored."""
        self._environment = environment
        self._skipped += skipped
        self._something.set()

    async def run(self) -> None:
        """Store queued runs until `finish` is called."""
        while not self.is_fenced:
            await self._something.wait()
            self._something.clear()
            try:
                await self._store()
            except Unavailable as error:
                get_logger().warning(str(error), action="benchmark_unstored")
                if self._closing:
                    return
                await asyncio.sleep(_AGAIN_S)
                self._something.set()
                continue
            if self._closing and not (self._waiting or self._environment):
                return

    async def _store(self) -> None:
        # Taken out of the queue first: more runs may arrive while the database works.
        runs, self._waiting = self._waiting, []
        environment, self._environment = self._environment, None
        skipped, self._skipped = self._skipped, 0
        try:
            held = await self._database.write(self._write, runs, environment, skipped)
        except BaseException:
            self._waiting[:0] = runs
            self._environment = self._environment or environment
            self._skipped += skipped
            raise
        self.is_fenced = not held

    def _write(
        self,
        tx: Transaction,
        runs: Sequence[BenchmarkRun],
        environment: Environment | None,
        skipped: int,
    ) -> bool:
        held = not runs or execution.record(tx, self._lease, runs)
        if held and environment is not None:
            held = execution.note(tx, self._lease, environment=environment, skipped=skipped)
        return held

    async def finish(self, storing: asyncio.Task[None]) -> None:
        """Store the remaining runs."""
        self._closing = True
        self._something.set()
        await asyncio.wait({storing})
        if not storing.cancelled() and (error := storing.exception()) is not None:
            raise error
