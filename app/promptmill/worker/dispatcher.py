"""The dispatcher: records outcomes, ends jobs and claims prompts, in one commit."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from promptmill.domain.errors import Unavailable
from promptmill.observability.logs import get_logger
from promptmill.services.wakeups import Signals, Wakeup
from promptmill.store.batches import transitions
from promptmill.store.db.database import Database, Transaction
from promptmill.store.queue import candidates, claims, completions
from promptmill.store.queue.leases import Completion, HostShare, Lease, Recorded
from promptmill.worker.closer import announce_ended
from promptmill.worker.executor import Executor
from promptmill.worker.loops import wait_for
from promptmill.worker.recorder import Recorder, could_not_be_stored
from promptmill.worker.reporting.activity import ActivityCounts
from promptmill.worker.reporting.call_log import CallLog
from promptmill.worker.reporting.counting import count_claimed, count_recorded
from promptmill.worker.scheduling.allocation import Allocation, WorkerHost, allocate, in_steps
from promptmill.worker.scheduling.model_switching import ModelSwitcher
from promptmill.worker.scheduling.prefix_affinity import PrefixTurns

_MOST_PER_FLUSH = 200
_QUICK_S = 0.02
"""Seconds up to which an exchange is quick, and worth making for a few prompts."""
_FEW_FINISHED, _FEW_STARTED = 16, 10
"""Most prompts that an exchange records and starts while exchanges are quick.

Calls that begin together end together, and then wait for each other's commit again and again.
"""
_TRY_AGAIN_S = (0.002, 0.010)
"""Bounds of the wait, in seconds, for a job or a host that another worker holds locked."""
_REFUSED_AGAIN_S = 10.0
"""Seconds between two tries to record an outcome that the database refuses."""
_SETTLE_S = 0.002
"""Seconds to wait for new outcomes before the next due start is read."""
_NOTHING_RECORDED = Recorded(finished=0, fenced=0)


@dataclass(frozen=True, slots=True)
class _Exchange:
    """The effect of one exchange."""

    recorded: Recorded
    ended: Sequence[str]
    """Ids of the batches whose last prompt the exchange recorded."""
    leases: Sequence[Lease]
    short: Sequence[WorkerHost]
    """Hosts with fewer claimable prompts than there was room for."""
    passed_over: bool = False
    """Whether a host has free slots at which another worker was claiming."""
    claiming_s: float | None = None
    """Seconds that claims took; None without claims."""
    interrupted: bool = False
    """Whether the exchange was committed early for a paced start, and more may be claimable."""


class Dispatcher:
    """The role that keeps as many calls in flight as jobs, hosts and this worker allow."""

    def __init__(
        self,
        *,
        database: Database,
        signals: Signals,
        places: Sequence[WorkerHost],
        grouping: ModelSwitcher,
        executor: Executor,
        recorder: Recorder,
        activity: ActivityCounts,
        call_log: CallLog,
        owner: str,
        concurrency: int,
        lease_s: float,
        poll_s: float,
        aging_s: float,
        texts_per_call: int = 1,
    ) -> None:
        self._database = database
        self._signals = signals
        self._places = places
        self._grouping = grouping
        self._executor = executor
        self._recorder = recorder
        self._activity = activity
        self._call_log = call_log
        self._owner = owner
        self._concurrency = concurrency
        self._lease_ms = round(lease_s * 1000)
        self._poll_s = poll_s
        self._texts_per_call = texts_per_call
        self._aging_ms = round(aging_s * 1000) or candidates.NEVER_MS
        self._turns = PrefixTurns()
        self._is_quick = True
        self._refused: list[Completion] = []
        """Outcomes that cannot be recorded even as failures; they keep their slots and leases."""
        self._refused_at = 0.0
        self._plenty = False
        """Whether the last claims returned all prompts that were wanted."""
        self.claiming = True
        """Cleared at the start of a graceful stop: no call is started, outcomes are recorded."""
        self.settled = asyncio.Event()
        """Cleared during an exchange, whose leases the executor does not have yet."""
        self.settled.set()
        self.finished = 0
        """Results stored since the start."""
        self.fenced = 0
        """Outcomes dropped since the start, because their leases had been lost."""
        self.last_exchange_at = time.monotonic()
        """Monotonic seconds at which the last exchange succeeded, or there was nothing to do."""

    async def run_once(self) -> float:
        """One exchange with the database; returns seconds until the next.

        Raises:
            Unavailable: The database does not work; the outcomes are kept for the next time.
        """
        self._try_refused_again()
        finished = self._recorder.take(_FEW_FINISHED if self._is_quick else _MOST_PER_FLUSH)
        places = [place for place in self._places if place.host.available]
        freed = sum(each.lease.takes_slot for each in finished)
        wanted = self._wanted(freed) if places else 0
        if not finished and not wanted:
            self.last_exchange_at = time.monotonic()
            return self._pause_s()
        asked = self._asked(wanted, places, finished)
        began = time.monotonic()
        self.settled.clear()
        try:
            done = await self._exchanged(finished, asked)
        except BaseException:
            self._recorder.put_back(finished)
            self.settled.set()
            raise
        self.last_exchange_at = time.monotonic()
        self._executor.recorded([each for each in finished if each not in self._refused])
        for lease in done.leases:
            self._executor.start(lease)
        self.settled.set()
        self._is_quick = time.monotonic() - began <= _QUICK_S
        self.finished += done.recorded.finished
        self.fenced += done.recorded.fenced
        self._report(done, took_s=self.last_exchange_at - began)
        if finished or done.leases:
            self._signals.job_changed.send()
        announce_ended(done.ended, self._signals)
        if wanted:
            # At full hosts an empty claim says nothing about the remaining work.
            self._plenty = not done.short and (self._plenty or bool(done.leases))
        if done.recorded.job_stopped:
            self._signals.spread(Wakeup.ENDING)
        if len(self._recorder) or done.interrupted:
            return 0.0
        if len(done.leases) >= wanted:
            return 0.0 if self._wanted(0) else self._pause_s()
        if done.passed_over:
            return _try_again_s()
        return await self._wait_s(done.short) if done.short else self._pause_s()

    def _report(self, done: _Exchange, *, took_s: float) -> None:
        """Tell metrics, activity and the log what an exchange has done."""
        count_recorded(done.recorded, took_s=took_s)
        if done.claiming_s is not None:
            count_claimed(done.leases, took_s=done.claiming_s)
        self._activity.add(done.recorded.results)
        self._call_log.note((*done.recorded.results, *done.recorded.returned))

    async def _wait_s(self, short: Sequence[WorkerHost]) -> float:
        """Seconds until more may be claimable at hosts that had too little."""
        if await wait_for(self._signals.work_available, _SETTLE_S):
            return 0.0
        if await self._regroup(short):
            return 0.0
        shares = [place.share for place in short]
        due_in_s = await self._database.read(_next_due_in_s, shares)
        return self._pause_s() if due_in_s is None else min(due_in_s(), self._pause_s())

    def _pause_s(self) -> float:
        """The poll interval with jitter, so that idle workers do not poll together."""
        return self._poll_s * random.uniform(0.8, 1.2)  # noqa: S311 - not a secret

    async def _regroup(self, short: Sequence[WorkerHost]) -> bool:
        """Whether an idle host was given another load group, and may have prompts now."""
        in_flight = self._executor.in_flight_by_host()
        changed = False
        for place in short:
            if not in_flight[place.share.key]:
                changed = await self._grouping.consider(place) or changed
        return changed

    def _wanted(self, freed: int) -> int:
        if not self.claiming:
            return 0
        wanted = max(self._concurrency - self._executor.in_flight + freed, 0)
        return min(wanted, _FEW_STARTED) if self._is_quick else wanted

    def _asked(
        self, wanted: int, places: Sequence[WorkerHost], finished: Sequence[Completion]
    ) -> Sequence[Allocation]:
        """The calls to claim at each host; slots of finished calls count as free."""
        if not wanted:
            return ()
        in_flight = self._executor.in_flight_by_host()
        for each in finished:
            in_flight[each.lease.host_key] -= each.lease.takes_slot
        asked = allocate(wanted, places, in_flight)
        return [
            Allocation(
                place,
                # A half-open host gets one call, because a prompt that brings it down would take
                # other calls with it.
                wanted=min(asked[place.share.key], max(1 - in_flight[place.share.key], 0))
                if place.host.health.on_trial
                else asked[place.share.key],
                held=in_flight[place.share.key],
            )
            for place in places
        ]

    async def _exchanged(
        self, finished: Sequence[Completion], asked: Sequence[Allocation]
    ) -> _Exchange:
        """One exchange; outcomes that the database refuses together are recorded one by one."""
        try:
            return await self._database.write(self._exchange, finished, asked)
        except Unavailable:
            raise
        except Exception:
            if not finished:
                raise
            get_logger().exception(
                "The database refused an exchange; its outcomes are recorded one by one.",
                action="exchange_refused",
                prompts=len(finished),
            )
        done = [one for each in finished if (one := await self._recorded_alone(each)) is not None]
        recorded = Recorded(
            finished=sum(each.recorded.finished for each in done),
            fenced=sum(each.recorded.fenced for each in done),
            job_stopped=any(each.recorded.job_stopped for each in done),
            results=[result for each in done for result in each.recorded.results],
            returned=[back for each in done for back in each.recorded.returned],
        )
        ended = [batch_id for each in done for batch_id in each.ended]
        return _Exchange(recorded, ended, leases=(), short=(), interrupted=True)

    async def _recorded_alone(self, completion: Completion) -> _Exchange | None:
        """Exchange one outcome; an outcome that is refused alone as well is recorded as a failure.

        None if that is refused too. Then the database is at fault (a missing right, a trigger), and
        the outcome is kept for another try while other work continues.
        """
        try:
            return await self._database.write(self._exchange, [completion], ())
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the driver or the database raises
            failure = could_not_be_stored(completion, error)
        try:
            return await self._database.write(self._exchange, [failure], ())
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - as above
            get_logger().exception(
                "The outcome of a prompt cannot be recorded; it is kept and tried again.",
                action="outcome_refused",
                batch_id=completion.lease.batch_id,
                prompt_index=completion.lease.index,
            )
            self._refused.append(completion)
            self._refused_at = time.monotonic()
        return None

    def _try_refused_again(self) -> None:
        if self._refused and time.monotonic() - self._refused_at >= _REFUSED_AGAIN_S:
            self._recorder.put_back(self._refused)
            self._refused = []

    def _exchange(
        self,
        tx: Transaction,
        finished: Sequence[Completion],
        asked: Sequence[Allocation],
    ) -> _Exchange:
        recorded = completions.complete(tx, finished) if finished else _NOTHING_RECORDED
        # In the same commit, so that no reader sees a running batch without remaining prompts.
        ended = transitions.close_ended(tx) if recorded.job_may_end else ()
        for ask in asked:
            ask.freed = recorded.freed.get(ask.place.share.key, 0)
        leases: list[Lease] = []
        began = time.monotonic()
        for claimed in self._claims(tx, asked):
            leases += claimed
            if claimed and claimed[-1].is_paced:
                # A paced start must not wait for claims at other hosts, which follow.
                claiming_s = time.monotonic() - began
                return _Exchange(
                    recorded, ended, leases, (), claiming_s=claiming_s, interrupted=True
                )
        return _Exchange(
            recorded,
            ended,
            leases,
            short=[ask.place for ask in asked if ask.is_short],
            passed_over=any(ask.passed_over for ask in asked),
            claiming_s=time.monotonic() - began if asked else None,
        )

    def _claims(self, tx: Transaction, asked: Sequence[Allocation]) -> Iterator[Sequence[Lease]]:
        """The claims at each host in turn."""
        if len(asked) > 1 and self._turns.matter:
            # First each host's own prefix groups, then the rest in order.
            yield from self._in_steps(tx, asked, leave=True)
        yield from self._in_steps(tx, asked)
        # Calls that one host has no prompts for may be claimed at another.
        left = sum(ask.wanted for ask in asked)
        for ask in asked:
            if left and not ask.wanted and not ask.place.host.health.on_trial:
                claimed = self._claim(tx, ask, left)
                left -= len(claimed)
                yield claimed

    def _in_steps(
        self, tx: Transaction, asked: Sequence[Allocation], *, leave: bool = False
    ) -> Iterator[Sequence[Lease]]:
        for ask, number in in_steps(asked, plenty=self._plenty):
            claimed = self._claim(tx, ask, number, leave=leave)
            ask.exhausted = len(claimed) < number
            yield claimed

    def _claim(
        self, tx: Transaction, ask: Allocation, wanted: int, *, leave: bool = False
    ) -> Sequence[Lease]:
        share = ask.place.share
        room = claims.room_at(tx, share, wanted=wanted, freed=ask.freed)
        ask.passed_over = room.passed_over
        if not room.number:
            return ()
        leases = claims.claim(
            tx,
            wanted=wanted,
            owner=self._owner,
            lease_ms=self._lease_ms,
            share=share,
            aging_ms=self._aging_ms,
            start_window_s=self._executor.start_window_s,
            affinity=self._turns.affinity(share.key, leave=leave),
            room=room,
            texts_per_call=self._texts_per_call,
        )
        self._turns.note(share.key, leases)
        ask.take(len(leases))
        # Prompts left to another host do not mean that no work remains.
        ask.is_short = len(leases) < room.number and not leave
        return leases


def _try_again_s() -> float:
    return random.uniform(*_TRY_AGAIN_S)  # noqa: S311 - not a secret


def _next_due_in_s(tx: Transaction, shares: Sequence[HostShare]) -> Callable[[], float] | None:
    """A function that returns the seconds until the next due start, computed when called."""
    if any(candidates.may_start_now(tx, share) for share in shares):
        return _try_again_s
    due_in_ms = candidates.next_due_in_ms(tx)
    if due_in_ms is None:
        return None
    at = time.monotonic() + due_in_ms / 1000
    return lambda: at - time.monotonic()
