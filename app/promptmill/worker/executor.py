"""The executor: runs claimed prompts, decides what each outcome means, and records it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from functools import partial

from promptmill.domain import retry
from promptmill.domain.limits import START_TOLERANCE_S, adapted_window_s
from promptmill.domain.outcomes import Blame, ErrorCode, Failed, Outcome, Succeeded
from promptmill.domain.retry import Finish, TryAgain
from promptmill.observability.logs import get_logger
from promptmill.observability.metrics import STARTS_LATE
from promptmill.ollama.answer_checks import structured_output
from promptmill.ollama.hosts import Host
from promptmill.store.queue.leases import Completion, Lease
from promptmill.worker.recorder import Recorder
from promptmill.worker.scheduling.shared_calls import call_of, outcomes_of
from promptmill.worker.scheduling.unloading import KeptModels


class Abort(Enum):
    """Reasons to abort a running call."""

    BATCH_CANCELLED = "the batch was cancelled"
    LEASE_LOST = "the lease was lost"
    SHUTDOWN = "the worker stops"


@dataclass(slots=True)
class _Running:
    lease: Lease
    call: asyncio.Task[Outcome | None]
    started: float | None = None
    """Monotonic seconds when the call was begun; None while it waits for its delay."""
    spent: bool = False
    """Whether the permit is used up although the call was not begun."""
    abort: Abort | None = None


def _key(lease: Lease) -> tuple[int, int]:
    return lease.task_id, lease.token


_JUDGES = 2
_LATE_S = 0.03
"""Seconds of a grace period above which a warning is logged."""

_CANCELLED = Failed(
    code=ErrorCode.CANCELLED,
    message="The batch was cancelled while this prompt ran.",
    blame=Blame.PROMPT,
)


class Executor:
    """The calls of this process, each under its lease."""

    def __init__(
        self,
        hosts: Mapping[int, Host],
        recorder: Recorder,
        *,
        backoff_s: Callable[[int], float],
        kept: KeptModels | None = None,
    ) -> None:
        """Store the hosts by their keys; without `kept`, `keep_alive` is sent as requested."""
        self._hosts = hosts
        self._kept = kept
        self._recorder = recorder
        self._backoff_s = backoff_s
        # Keyed by lease, because a prompt whose lease was lost may occur twice.
        self._running: dict[tuple[int, int], _Running] = {}
        self._unrecorded: dict[tuple[int, int], Lease] = {}
        self._by_host: Counter[int] = Counter()
        self._last_start: dict[int, float] = {}
        # A small pool of its own, because a schema may keep a thread busy for seconds.
        self._judges = ThreadPoolExecutor(_JUDGES, thread_name_prefix="judge")
        self._log = get_logger()
        self.start_window_s = START_TOLERANCE_S
        """Grace period of the permits of paced starts."""
        self._told_late = False
        self.empty = asyncio.Event()
        """Set while no prompt holds a slot."""
        self.empty.set()

    @property
    def in_flight(self) -> int:
        """Calls that hold a slot: running, or finished and not yet recorded."""
        return self._by_host.total()

    @property
    def running(self) -> int:
        """The number of calls in flight."""
        return len(self._running)

    def leases(self) -> dict[tuple[int, int], Lease]:
        """The leases, by prompt and token, of all calls in flight or not recorded yet."""
        running = [each for call in self._running.values() for each in call.lease.of_call]
        return {_key(lease): lease for lease in running} | self._unrecorded

    def in_flight_by_host(self) -> Counter[int]:
        """Calls that hold a slot, by the key of their host."""
        return self._by_host.copy()

    def start(self, lease: Lease) -> None:
        """Begin a call; every way in which it can end reaches the recorder."""
        self.empty.clear()
        self._by_host[lease.host_key] += 1
        key = _key(lease)
        loop = asyncio.get_running_loop()
        call = loop.create_task(self._run(key, lease), name=f"prompt-{lease.task_id}")
        self._running[key] = _Running(lease, call)
        # A callback, not `finally`: a task that is cancelled before its first step never runs.
        call.add_done_callback(lambda ended: self._ended(key, ended))

    def recorded(self, completions: Sequence[Completion]) -> None:
        """Free the slots of committed outcomes."""
        for each in completions:
            del self._unrecorded[_key(each.lease)]
        self._by_host.subtract(each.lease.host_key for each in completions if each.lease.takes_slot)
        if not self.in_flight:
            self.empty.set()

    def abort_jobs(self, job_keys: Collection[int]) -> None:
        """Abort the calls of cancelled jobs."""
        for running in list(self._running.values()):
            if running.lease.job_key in job_keys:
                self._abort(running, Abort.BATCH_CANCELLED)

    def abort_lost(self, lost: AbstractSet[tuple[int, int]]) -> int:
        """Abort the calls whose leases (prompt, token) are lost; return their number."""
        calls = [
            running
            for running in self._running.values()
            if not lost.isdisjoint(map(_key, running.lease.of_call))
        ]
        for running in calls:
            self._abort(running, Abort.LEASE_LOST)
        return len(calls)

    def abort_all(self) -> None:
        """Abort all calls; the prompts go back to the queue, uncharged."""
        for running in list(self._running.values()):
            self._abort(running, Abort.SHUTDOWN)

    def _abort(self, running: _Running, reason: Abort) -> None:
        if running.abort is None:
            running.abort = reason
            running.call.cancel()

    async def _run(self, key: tuple[int, int], lease: Lease) -> Outcome | None:
        """Make the call and return its outcome; None if its permit had ended."""
        if lease.is_paced and not await self._keep_distance(lease):
            # The permit is not returned with the prompt: the next start would be as early.
            self._running[key].spent = True
            return None
        started = time.monotonic()
        missed = started > lease.start_by
        if lease.is_paced:
            self._note_punctuality(missed=missed)
        if missed:
            STARTS_LATE.inc()
            return None
        if lease.is_paced:
            self._note_start(lease, started)
        self._running[key].started = started
        outcome = await self._call(lease)
        if isinstance(outcome, Succeeded) and outcome.embedding is None:
            return await self._judged(outcome, lease)
        return outcome

    def _note_punctuality(self, *, missed: bool) -> None:
        self.start_window_s = adapted_window_s(self.start_window_s, missed=missed)
        if self.start_window_s == START_TOLERANCE_S:
            self._told_late = False
        elif self.start_window_s > _LATE_S and not self._told_late:
            self._told_late = True
            self._log.warning(
                "Calls begin late after their permits, so batches with a rate_limit_delay go slower"
                " by about window_ms for each prompt; the machine is busy, or the database slow.",
                action="starts_late",
                window_ms=round(self.start_window_s * 1000),
            )

    async def _call(self, lease: Lease) -> Outcome:
        host = self._hosts[lease.host_key]
        call = call_of(lease)
        if self._kept is None:
            return await host.run(call)
        try:
            return await host.run(self._kept.as_sent(call, lease.limits))
        finally:
            self._kept.note_end(lease)

    async def _judged(self, answer: Succeeded, lease: Lease) -> Outcome:
        """Check the answer for defects; the event loop stays free while a schema is checked."""
        windows = await self._hosts[lease.host_key].windows_of(
            lease.call, answer.metrics.prompt_eval_count
        )
        judge = partial(
            structured_output.judge, answer, lease.call, fail_on=lease.fail_on, windows=windows
        )
        if structured_output.is_quick(answer, lease.call):
            return judge()
        return await asyncio.get_running_loop().run_in_executor(self._judges, judge)

    def _ended(self, key: tuple[int, int], call: asyncio.Task[Outcome | None]) -> None:
        running = self._running.pop(key)
        if call.cancelled():
            if running.abort is None:
                return  # the event loop itself is being closed
            outcome = None
        elif (error := call.exception()) is not None:
            # A bug must cost one prompt an attempt, not the batch its end.
            self._log.error(
                "A call failed in a way nobody foresaw.", action="call_failed", exc_info=error
            )
            outcome = Failed(
                code=ErrorCode.SERVER_ERROR,
                message=f"Promptmill itself failed on this prompt: {type(error).__name__}",
                blame=Blame.ATTEMPT,
            )
        else:
            outcome = call.result()
        leases = running.lease.of_call
        outcomes = [None] * len(leases) if outcome is None else outcomes_of(outcome, leases)
        for lease, own in zip(leases, outcomes, strict=True):
            self._unrecorded[_key(lease)] = lease
            self._recorder.add(self._completion(running, lease, own))

    async def _keep_distance(self, lease: Lease) -> bool:
        """Wait until the job's last start in this process is one delay ago.

        The claim has already kept the delay, but commits take varying times; this wait evens them
        out. False, at once, if the permit ends before: then the database's clock has jumped.
        """
        if (last := self._last_start.get(lease.job_key)) is not None:
            at, now = last + lease.limits.rate_limit_delay_s, time.monotonic()
            if now <= lease.start_by < at:
                return False
            if at > now:
                await asyncio.sleep(at - now)
        return True

    def _note_start(self, lease: Lease, started: float) -> None:
        self._last_start[lease.job_key] = started
        if len(self._last_start) > 1000:  # noqa: PLR2004 - only keeps the table small
            self._last_start = {lease.job_key: started}

    def _is_elsewhere(self, lease: Lease) -> bool:
        """Whether another host of this worker may take the prompt, now or when it is back."""
        model = lease.call.model
        return any(
            key != lease.host_key and not host.refuses and host.has_model(model) is not False
            for key, host in self._hosts.items()
        )

    def _completion(self, running: _Running, lease: Lease, outcome: Outcome | None) -> Completion:
        """Completion of a call for one of its leases; `outcome` is None if the call was aborted."""
        if outcome is not None:
            of_text = None
            if running.lease.others:
                of_text = retry.split(outcome, attempt=lease.attempt, backoff_s=self._backoff_s)
            decision = of_text or retry.decide(
                outcome,
                attempt=lease.attempt,
                max_attempts=lease.max_attempts,
                losses=lease.losses,
                turned_away=lease.turned_away,
                is_elsewhere=self._is_elsewhere(lease),
                backoff_s=self._backoff_s,
            )
        elif running.abort is Abort.BATCH_CANCELLED:
            outcome, decision = _CANCELLED, Finish()
        else:
            # Given back; with a lost lease it is dropped, and counted so.
            outcome = _CANCELLED
            unused = running.started is None and not running.spent
            decision = TryAgain(wait_s=0.0, charged=False, keeps_place=True, unused=unused)
        # The lease uses the database's clock; this process's clock adds the time since.
        now = time.monotonic()
        before_start_s = (running.started or now) - lease.claimed_at
        return Completion(
            lease=lease,
            outcome=outcome,
            decision=decision,
            host_url=self._hosts[lease.host_key].url,
            started_at_ms=lease.claimed_at_ms + round(before_start_s * 1000),
            finished_at_ms=lease.claimed_at_ms + round((now - lease.claimed_at) * 1000),
        )
