"""One session of a benchmark: measures from the first missing run to the last.

The rules to know:
- A run is due when its place in flight becomes free, and its time counts from then.
- One attempt only: a failure is recorded and not retried.
- Nothing is awaited between the end of one run and the start of the next: outcomes are queued, and
stored concurrently.
- No run begins after the lease has expired by this process's clock: another session may have begun.
- A session continues the runs of an earlier one only if the host is unchanged.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import pairwise

from promptmill.domain.benchmarks import flags
from promptmill.domain.benchmarks.fingerprint import difference
from promptmill.domain.benchmarks.flags import Reference
from promptmill.domain.benchmarks.plan import Block, Step, plan, text_to_send
from promptmill.domain.benchmarks.records import (
    BenchmarkRun,
    ChunkIntervals,
    Environment,
    ModelEnvironment,
    Phase,
    PrefixCache,
)
from promptmill.domain.benchmarks.statistics import distribution
from promptmill.domain.benchmarks.timeline import Timeline
from promptmill.domain.calls import Call
from promptmill.domain.context_window import sent_text
from promptmill.domain.lifecycle import TaskState
from promptmill.domain.outcomes import Blame, ErrorCode, Failed, Outcome, Succeeded
from promptmill.ollama.failures.table import OllamaError
from promptmill.ollama.hosts import Host
from promptmill.ollama.surroundings import look_at_model
from promptmill.store.benchmarks.execution import BenchmarkLease

_LOOK_S = 0.2
"""Seconds between two checks whether a quarantined host is back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporting:
    """Callbacks of a session; neither delays the measurement."""

    run: Callable[[BenchmarkRun], None]
    """Called when a run has ended."""
    noted: Callable[[Environment, int], Awaitable[None]]
    """Called with the environment, and with the number of steps that will never be run."""


class Session:
    """One session: a benchmark under one lease."""

    def __init__(
        self,
        lease: BenchmarkLease,
        host: Host,
        reporting: Reporting,
        *,
        service_version: str,
        holds: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Store the arguments; `clock` is that of the host's client, in monotonic seconds.

        `holds` says whether the lease is still valid by this process's clock.
        """
        self._lease = lease
        self._draft = lease.benchmark.draft
        self._host = host
        self._reporting = reporting
        self._holds = holds
        self._clock = clock
        self._began_at = clock()
        self._began_ms = time.time_ns() // 1_000_000
        self._environment = replace(
            lease.benchmark.environment, host=host.url, service_version=service_version
        )
        self.has_success = lease.has_success
        """Whether any measured run has an answer."""
        self.first_error: str | None = None
        """Message of the first failure."""
        self.refusal: str | None = None
        """Reasons why the runs of an earlier session cannot be continued, in sentences."""
        self.is_over = False
        """Whether the session ended early, because its lease had expired."""

    async def run(self) -> None:
        """Measure all missing runs; every run is reported before this returns."""
        blocks = plan(self._draft)
        kept = {
            step.number for each in blocks if each.phase is not Phase.WARMUP for step in each.steps
        }
        self._goes_on = not kept.isdisjoint(self._lease.done)
        for model in self._draft.models:
            own = [block for block in blocks if block.model == model]
            if any(self._missing(block) for block in own if block.phase is Phase.MEASURED):
                await self._measure_model(model, own)
            if not self.may_go_on():
                return

    def _missing(self, block: Block) -> Sequence[Step]:
        """Steps of a block that are to be run now."""
        if block.phase is Phase.WARMUP:
            # Each session warms the model up, since it may have been unloaded.
            return block.steps
        return [step for step in block.steps if step.number not in self._lease.done]

    async def _measure_model(self, model: str, blocks: Sequence[Block]) -> None:
        known = self._environment.models.get(model, ModelEnvironment())
        if known.error is not None:
            return
        await self.host_is_back()
        before = await look_at_model(self._host.client, model, known)
        version = before.version or self._environment.ollama_version
        measured = _ModelSession(self, model, replace(before.model, loaded_before=before.loaded))
        await self.keep(model, measured.environment, version=version)
        for block in blocks:
            steps = self._missing(block)
            if steps and measured.is_usable:
                await measured.run_block(block, steps)
        if not self.may_go_on():
            return
        after = await look_at_model(self._host.client, model, measured.environment)
        changed = (after.version or version, after.model.model_digest) != (
            version,
            before.model.model_digest,
        )
        planned = {step.number for block in blocks for step in block.steps}
        skipped = planned - measured.made - self._lease.done
        last = replace(after.model, loaded_after=after.loaded, changed=changed)
        await self.keep(model, last, skipped=len(skipped))

    async def keep(
        self,
        model: str,
        environment: ModelEnvironment,
        *,
        version: str | None = None,
        skipped: int = 0,
    ) -> None:
        """Store the environment of a model.

        The session is refused if an earlier session measured the model in another environment; a
        change within a session is only flagged.
        """
        seen = replace(
            self._environment,
            ollama_version=version or self._environment.ollama_version,
            models={**self._environment.models, model: environment},
        )
        first = self._lease.benchmark.environment
        if self._goes_on and not environment.changed and (change := difference(first, seen, model)):
            self.refusal = (
                "The host is not what it was when the benchmark began, and its figures would be of"
                f" two hosts: {change}. Start it again."
            )
            return
        self._environment = seen
        await self._reporting.noted(seen, skipped)

    def may_go_on(self) -> bool:
        """Whether another run may begin."""
        self.is_over = self.is_over or not self._holds()
        return not self.is_over and self.refusal is None

    async def run_step(
        self, block: Block, step: Step, *, due: float, around: ModelEnvironment, before: Reference
    ) -> tuple[BenchmarkRun, Outcome, Timeline]:
        """Make the run that was due at `due`, without reporting it."""
        text = text_to_send(
            self._draft,
            self._lease.benchmark.id,
            session=self._lease.session,
            block=block,
            step=step,
        )
        timeline = Timeline()
        outcome = await self._host.measure(self._call(block.model, text), timeline)
        run = self._run_of(block, step, outcome, timeline, due=due)
        found = flags.run_flags(
            run,
            self._draft,
            reference=before,
            context_length=around.context_length,
            sent=sent_text(text),
            remote=timeline.remote,
        )
        return replace(run, flags=found), outcome, timeline

    def not_run(self, block: Block, step: Step, failed: Failed) -> BenchmarkRun:
        """A run that could not begin."""
        run = self._run_of(block, step, failed, Timeline(), due=self._clock())
        return replace(run, latency_s=None, client_queue_s=None)

    def _call(self, model: str, text: str) -> Call:
        parameters = {
            "options": dict(self._draft.options),
            "think": self._draft.think,
            "keep_alive": self._draft.keep_alive,
        }
        return Call(
            model=model,
            prompt=text,
            parameters={name: value for name, value in parameters.items() if value is not None},
            timeout_s=self._draft.timeout_s,
        )

    def _run_of(
        self, block: Block, step: Step, outcome: Outcome, timeline: Timeline, *, due: float
    ) -> BenchmarkRun:
        ended = timeline.done_at if isinstance(outcome, Succeeded) else None
        ended = self._clock() if ended is None else ended
        sent_at = due if timeline.sent_at is None else timeline.sent_at
        failed = outcome if isinstance(outcome, Failed) else None
        response = outcome.response
        return BenchmarkRun(
            step=step.number,
            session=self._lease.session,
            block=block.number,
            phase=block.phase,
            model=block.model,
            prompt_index=step.prompt_index,
            concurrency=block.concurrency,
            run_index=step.run_index,
            status=TaskState.FAILED if failed else TaskState.SUCCEEDED,
            scheduled_at_ms=self._wall_ms(due),
            started_at_ms=self._wall_ms(sent_at),
            scheduled_s=due - self._began_at,
            ended_s=ended - self._began_at,
            error_code=failed.code if failed else None,
            error=failed.message if failed else None,
            done_reason=outcome.done_reason,
            latency_s=ended - due,
            client_queue_s=sent_at - due,
            ttft_s=_since(due, timeline.first_text_at),
            ttfo_s=_since(due, timeline.first_answer_at),
            icl=_chunk_intervals(timeline.chunk_times),
            metrics=outcome.metrics,
            cached_prompt_tokens=0 if self._draft.prefix_cache is PrefixCache.AVOID else None,
            response=response,
            response_chars=None if response is None else len(response),
            response_sha256=None if response is None else sha256(response.encode()).hexdigest(),
        )

    def _wall_ms(self, moment: float) -> int:
        return self._began_ms + round((moment - self._began_at) * 1000)

    def report(self, run: BenchmarkRun) -> None:
        """Report a run, to be stored."""
        if run.succeeded:
            self.has_success = self.has_success or run.phase is Phase.MEASURED
        elif self.first_error is None:
            self.first_error = run.error
        self._reporting.run(run)

    async def unload(self, model: str) -> Failed | None:
        """Unload the model; returns the error if it stays loaded."""
        try:
            await self._host.client.unload(model)
        except OllamaError as error:
            return error.failed
        return None

    async def host_is_back(self) -> None:
        """Wait until the host takes work again; no run is timed meanwhile."""
        while not self._host.available:  # noqa: ASYNC110 - hosts send no events
            await asyncio.sleep(_LOOK_S)

    def now(self) -> float:
        """The monotonic clock of the session, in seconds."""
        return self._clock()

    async def look(self, model: str, known: ModelEnvironment) -> ModelEnvironment:
        """The environment of the model now."""
        return (await look_at_model(self._host.client, model, known)).model

    async def rest(self) -> None:
        """Wait for the benchmark's `cooldown_s`."""
        if self._draft.cooldown_s:
            await asyncio.sleep(self._draft.cooldown_s)


class _ModelSession:
    """The runs of one model in one session, and the reference for its next runs."""

    def __init__(self, session: Session, model: str, environment: ModelEnvironment) -> None:
        self._session = session
        self._model = model
        self.environment = environment
        self.made: set[int] = set()
        """Steps that were run."""
        self._references: dict[int, Reference] = {}
        self._load_s: float | None = None
        self._looked = False
        self._answered = False

    @property
    def is_usable(self) -> bool:
        """Whether the model can be run, and another run may begin."""
        return self.environment.error is None and self._session.may_go_on()

    async def run_block(self, block: Block, steps: Sequence[Step]) -> None:
        """Make all runs of the block with its number of requests in flight."""
        if block.phase is Phase.MEASURED:
            await self._session.rest()
        if block.phase is Phase.COLD_LOAD and (failed := await self._session.unload(self._model)):
            for step in steps:
                self.made.add(step.number)
                self._session.report(self._session.not_run(block, step, failed))
            self._give_up_if_hopeless(failed)
            return
        waiting = iter(steps)
        async with asyncio.TaskGroup() as lanes:
            for _ in range(min(block.concurrency, len(steps))):
                lanes.create_task(self._lane(block, waiting))
        if not self._looked:
            # The window and the GPU share are known only once the model is loaded.
            self._looked = True
            self.environment = await self._session.look(self._model, self.environment)
            await self._session.keep(self._model, self.environment)

    async def _lane(self, block: Block, waiting: Iterator[Step]) -> None:
        due = self._session.now()
        for step in waiting:
            if not self.is_usable:
                return
            before = self._references.get(step.prompt_index, Reference())
            run, outcome, timeline = await self._session.run_step(
                block,
                step,
                due=due,
                around=self.environment,
                before=replace(before, load_s=self._load_s),
            )
            due = self._session.now()
            self.made.add(step.number)
            self._learn(run, timeline)
            self._session.report(run)
            if isinstance(outcome, Failed):
                self._give_up_if_hopeless(outcome)
                if self.is_usable and outcome.blame in {Blame.HOST, Blame.REFUSAL}:
                    await self._session.host_is_back()
                    due = self._session.now()

    def _learn(self, run: BenchmarkRun, timeline: Timeline) -> None:
        self._answered = self._answered or run.succeeded
        before = self._references.get(run.prompt_index, Reference())
        learnt = flags.learn(replace(before, load_s=self._load_s), run)
        self._references[run.prompt_index] = learnt
        self._load_s = learnt.load_s
        if timeline.remote:
            self.environment = replace(self.environment, remote=True)

    def _give_up_if_hopeless(self, failed: Failed) -> None:
        """Skip the remaining runs of a model that was refused before its first answer."""
        refused = failed.blame in {Blame.PROMPT, Blame.REFUSAL}
        hopeless = refused and failed.code is not ErrorCode.CANCELLED
        if hopeless and not self._answered:
            self.environment = replace(
                self.environment, error=failed.message, error_code=failed.code
            )


def _chunk_intervals(times: Collection[float]) -> ChunkIntervals | None:
    if not times:
        return None
    ordered = list(times)
    gaps = distribution(later - before for before, later in pairwise(ordered))
    return ChunkIntervals(chunks=len(ordered), p50_s=gaps.p50, p95_s=gaps.p95, max_s=gaps.max)


def _since(start: float, moment: float | None) -> float | None:
    return None if moment is None else moment - start
