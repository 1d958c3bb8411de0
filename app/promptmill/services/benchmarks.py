"""Service functions of benchmarks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from promptmill.domain.access.keys import ANYBODY, Caller
from promptmill.domain.batches import IdempotencyKey
from promptmill.domain.benchmarks.comparison import (
    BenchmarkComparison,
    ComparedMeasure,
    Side,
    compare_benchmarks,
    compare_models,
)
from promptmill.domain.benchmarks.records import Benchmark, BenchmarkDraft, BenchmarkRun
from promptmill.domain.benchmarks.summary import NO_ENVIRONMENT, ModelResult, summarise
from promptmill.domain.errors import Conflict, FieldProblem, Invalid, NotFound
from promptmill.domain.lifecycle import TERMINAL_JOB_STATES, JobState
from promptmill.observability.audit import Change, audit
from promptmill.services import admission
from promptmill.services.resources import Resources
from promptmill.services.wakeups import Wakeup
from promptmill.settings import Settings
from promptmill.store.benchmarks import execution
from promptmill.store.benchmarks import registry as benchmarks
from promptmill.store.db.database import Transaction

_RUNS_PER_CHUNK = 500
_OTHER_WORK = (
    "that benchmark gave other work: none of its prompts was sent with the same `options`, `think`"
    " and `prefix_cache` at the same `concurrency`"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Accepted benchmark."""

    benchmark: Benchmark
    created: bool
    """Whether this request created the benchmark, and not an earlier one with its idempotency key.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Benchmark with the figures of its runs so far."""

    benchmark: Benchmark
    runs: Sequence[BenchmarkRun]
    """The runs without prompt and answer texts."""
    results: Mapping[str, ModelResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkPage:
    """Page of benchmarks, newest first."""

    benchmarks: Sequence[Benchmark]
    next_cursor: str | None
    """Position of the next page; None at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    """Page of runs, in the order of their recording."""

    runs: Sequence[BenchmarkRun]
    next_after: int | None
    """Number after which the next page begins; None if there are no more runs now."""


async def submit(
    resources: Resources,
    draft: BenchmarkDraft,
    *,
    idempotency: IdempotencyKey | None = None,
    caller: Caller = ANYBODY,
) -> Submission:
    """Store a benchmark; when this returns it is on disk and will be measured.

    Raises:
        Invalid: There is no such baseline, or it was of other work; or the idempotency key was
            used with another body.
        StorageFull: The disk has too little room for new work.
        Unavailable: The database cannot take it; nothing was stored.
    """
    submission = await resources.database.write(
        _submit, draft, idempotency, caller.key_id, resources.settings
    )
    if submission.created:
        audit(Change.BENCHMARK_CREATED, submission.benchmark.id)
        resources.signals.spread(Wakeup.BENCHMARK)
    return submission


def _submit(
    tx: Transaction,
    draft: BenchmarkDraft,
    idempotency: IdempotencyKey | None,
    key_id: str | None,
    settings: Settings,
) -> Submission:
    known = admission.id_of_key(tx, benchmarks.BENCHMARKS, idempotency)
    if known is not None:
        return Submission(benchmark=benchmarks.get(tx, known), created=False)
    admission.require_disk_room(settings)
    if draft.baseline_id is not None:
        _require_same_work(tx, draft, draft.baseline_id)
    benchmark_id = admission.new_benchmark_id()
    benchmarks.insert(tx, draft, benchmark_id=benchmark_id, idempotency=idempotency, key_id=key_id)
    return Submission(benchmark=benchmarks.get(tx, benchmark_id), created=True)


def _require_same_work(tx: Transaction, draft: BenchmarkDraft, baseline_id: str) -> None:
    try:
        base = benchmarks.get(tx, baseline_id).draft
    except NotFound:
        fault = FieldProblem(
            "/baseline_id", "there is no such benchmark; give the id of one, or leave it out"
        )
        raise Invalid("The baseline does not exist.", (fault,)) from None
    if not _work_of(draft) & _work_of(base):
        fault = FieldProblem("/baseline_id", _OTHER_WORK)
        raise Invalid("The baseline cannot be compared with this benchmark.", (fault,))


def _work_of(draft: BenchmarkDraft) -> set[tuple[str, int]]:
    prompts = range(len(draft.prompts))
    return {(draft.workload_hash(each), level) for each in prompts for level in draft.concurrency}


async def get(resources: Resources, benchmark_id: str) -> Benchmark:
    """Read a benchmark.

    Raises:
        NotFound: There is none of that id.
    """
    return await resources.database.read(benchmarks.get, benchmark_id)


async def wait_until_ended(
    resources: Resources, benchmark_id: str, *, timeout_s: float
) -> Benchmark:
    """Wait until a benchmark has ended, at most `timeout_s`, and read it.

    Raises:
        NotFound: There is none of that id.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        # Listening begins before the read, so that an end between the two is not missed.
        ended = resources.signals.job_ended.listen()
        found = await get(resources, benchmark_id)
        left = deadline - time.monotonic()
        if found.state in TERMINAL_JOB_STATES or left <= 0:
            return found
        # The signal is missing if another process without NOTIFY did the work; the read shows it.
        await ended.wait(min(left, resources.settings.poll_s))


async def measured(resources: Resources, benchmark_id: str) -> Measured:
    """Read a benchmark with the figures of all runs so far.

    Raises:
        NotFound: There is none of that id.
    """
    return await resources.database.read(_measured, benchmark_id)


def _measured(tx: Transaction, benchmark_id: str) -> Measured:
    # Computed in the reader's thread: the figures of thousands of runs take a while.
    found = benchmarks.get(tx, benchmark_id)
    runs = execution.figures(tx, found.key)
    samples = execution.sample_responses(tx, found.key)
    by_model: dict[str, list[BenchmarkRun]] = {model: [] for model in found.draft.models}
    for run in runs:
        by_model[run.model].append(run)
    return Measured(
        benchmark=found,
        runs=runs,
        results={
            model: summarise(
                found.draft,
                model,
                own,
                environment=found.environment.models.get(model, NO_ENVIRONMENT),
                response=samples.get(model),
            )
            for model, own in by_model.items()
        },
    )


async def list_benchmarks(
    resources: Resources,
    *,
    limit: int,
    cursor: str | None = None,
    status: JobState | None = None,
    metadata: Mapping[str, str] | None = None,
) -> BenchmarkPage:
    """List matching benchmarks, newest first; `cursor` is the `next_cursor` of the page before."""
    found = await resources.database.read(
        benchmarks.page, limit=limit + 1, before=cursor, state=status, metadata=metadata
    )
    shown = found[:limit]
    return BenchmarkPage(benchmarks=shown, next_cursor=shown[-1].id if len(found) > limit else None)


async def runs_page(
    resources: Resources, benchmark_id: str, *, limit: int, after: int | None = None
) -> RunPage:
    """Read a page of runs in the order of recording, after the number `after`.

    Raises:
        NotFound: There is no benchmark of that id.
    """

    def read(tx: Transaction) -> Sequence[tuple[int, BenchmarkRun]]:
        key = benchmarks.get(tx, benchmark_id).key
        return execution.page(tx, key, limit=limit + 1, after=after)

    found = await resources.database.read(read)
    shown = found[:limit]
    return RunPage(
        runs=[run for _, run in shown], next_after=shown[-1][0] if len(found) > limit else None
    )


async def stream_runs(
    resources: Resources, benchmark_id: str
) -> AsyncIterator[Sequence[BenchmarkRun]]:
    """Stream all runs in the order of recording, in chunks; each chunk is a separate read.

    Raises:
        NotFound: There is no benchmark of that id; raised before the stream begins.
    """
    key = (await get(resources, benchmark_id)).key

    async def chunks() -> AsyncIterator[Sequence[BenchmarkRun]]:
        after: int | None = None
        while True:
            chunk = await resources.database.read(
                execution.page, key, limit=_RUNS_PER_CHUNK, after=after
            )
            if chunk:
                yield [run for _, run in chunk]
            if len(chunk) < _RUNS_PER_CHUNK:
                return
            after = chunk[-1][0]

    return chunks()


async def compare(
    resources: Resources, benchmark_id: str, *, baseline_id: str | None = None
) -> BenchmarkComparison:
    """Compare a benchmark with a baseline: the given one, else that of its request.

    Raises:
        NotFound: There is no benchmark of that id.
        Invalid: There is no such baseline, none was named, or it measured other work.
        Conflict: One of the two has not ended.
    """
    target = await measured(resources, benchmark_id)
    wanted = baseline_id or target.benchmark.draft.baseline_id
    if wanted is None:
        fault = FieldProblem(
            "/query/baseline", "is required: this benchmark was posted without a `baseline_id`"
        )
        raise Invalid("There is nothing to compare with.", (fault,))
    try:
        base = await measured(resources, wanted)
    except NotFound:
        fault = FieldProblem("/query/baseline", "there is no such benchmark")
        raise Invalid("The baseline does not exist.", (fault,)) from None
    for each in (target.benchmark, base.benchmark):
        if each.state not in TERMINAL_JOB_STATES:
            raise Conflict(
                f"The benchmark {each.id} is {each.state.value}; it can be compared when it has"
                " ended."
            )
    if not _work_of(base.benchmark.draft) & _work_of(target.benchmark.draft):
        fault = FieldProblem("/query/baseline", _OTHER_WORK)
        raise Invalid("The two benchmarks cannot be compared.", (fault,))
    return await asyncio.to_thread(compare_benchmarks, _side(base), _side(target))


def comparison_of_models(found: Measured) -> Sequence[ComparedMeasure]:
    """Compare every model with the benchmark's first model. Slow: call it in a thread."""
    return compare_models(_side(found))


def _side(found: Measured) -> Side:
    return Side(benchmark=found.benchmark, runs=found.runs)


async def cancel(resources: Resources, benchmark_id: str) -> Benchmark:
    """Cancel a benchmark: running requests are aborted, finished runs stay.

    Raises:
        NotFound: There is none of that id.
        Conflict: It has ended.
    """

    def request(tx: Transaction) -> Benchmark:
        benchmarks.request_cancel(tx, benchmark_id)
        return benchmarks.get(tx, benchmark_id)

    found = await resources.database.write(request)
    audit(Change.BENCHMARK_CANCELLED, benchmark_id)
    resources.signals.spread(Wakeup.BENCHMARK)
    if found.state in TERMINAL_JOB_STATES:
        resources.signals.spread(Wakeup.ENDED)
        # Prompts that waited for the host may start.
        resources.signals.spread(Wakeup.WORK)
    return found


async def delete(resources: Resources, benchmark_id: str) -> None:
    """Delete an ended benchmark with its runs.

    Raises:
        NotFound: There is none of that id.
        Conflict: It has not ended.
    """
    await resources.database.write(benchmarks.BENCHMARKS.mark_deleted, benchmark_id)
    audit(Change.BENCHMARK_DELETED, benchmark_id)
    resources.signals.purge_requested.set()
