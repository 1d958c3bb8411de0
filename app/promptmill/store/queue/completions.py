"""Completions: every change of a task under its lease: renewed, completed, rescued.

    enqueue          -> pending     a batch is stored with all its prompts (`enqueue`)
    claim            pending -> running     within the limits of job and host (`claims`)
    renew            running     the lease is prolonged
    complete         running -> succeeded | failed | cancelled | pending     guarded by the lease
    rescue           running -> pending | failed     the lease ran out

Changes of many prompts at once, without a lease, are in `bulk`.

The rule to know: whoever changes a running task proves that it holds its lease by the token that
the claim drew. A token is drawn anew at every claim, so a worker that was paused beyond its lease
finds its token gone and its late result is dropped: the fence.

Locks are taken in one order: tasks, then counters. A claim locks host, job and tasks, but waits for
none of them (SKIP LOCKED), so the two cannot deadlock in one transaction. A completion takes
permits back from jobs when it has everything else, and waits for no job's row either. States stand
in the SQL as literals: with a bound parameter PostgreSQL's generic plan misses the partial indexes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from promptmill.domain.lifecycle import (
    TaskEvent,
    TaskState,
    task_target,
)
from promptmill.domain.outcomes import METRICS, REPLIED, ErrorCode, Failed, Outcome, Succeeded
from promptmill.domain.retry import MOST_CRASHES, Finish, TryAgain
from promptmill.store.db.compiled import Prepared, id_pairs, ids_in, json_text, pairs_in, slices
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import PENDING, RUNNING, STILL_RUNNING
from promptmill.store.db.tables.batches import prompt_id, result, task
from promptmill.store.hosts import usage_limits
from promptmill.store.queue import attempts, returns
from promptmill.store.queue.bulk import FREED, store_results_without_call
from promptmill.store.queue.counters import CounterChange, count
from promptmill.store.queue.leases import Completion, Recorded

_SETBACKS = frozenset({ErrorCode.SERVER_BUSY, ErrorCode.TIMEOUT})
"""Failures that may be caused by too many calls at a time."""

# --- renew -----------------------------------------------------------------------------------

_OWN_RUNNING = (
    sa.select(task.c.id)
    .where(task.c.id.in_(sa.bindparam("ids", expanding=True)), STILL_RUNNING)
    .where(task.c.lease_owner == sa.bindparam("own"))
    .order_by(task.c.id)
    .with_for_update(skip_locked=True)
    .cte("own_running")
)
_RENEW = (
    sa.update(task)
    .where(task.c.id.in_(sa.select(_OWN_RUNNING.c.id)), STILL_RUNNING)
    .where(task.c.lease_owner == sa.bindparam("own"))
    .values(lease_until_ms=sa.bindparam("until"))
    .returning(task.c.id, task.c.lease_token)
)


def renew(
    tx: Transaction, *, owner: str, task_ids: Sequence[int], lease_ms: int
) -> set[tuple[int, int]]:
    """Renew the owner's leases; returns the (task, token) pairs that it still holds.

    What is missing in the answer is lost, or is being completed at this moment: calls of the
    former are to be aborted.
    """
    held: set[tuple[int, int]] = set()
    for ids in slices(sorted(task_ids), 4_000):
        until = tx.now_ms() + lease_ms
        rows = tx.execute(_RENEW, {"ids": ids, "own": owner, "until": until})
        held.update((row.id, row.lease_token) for row in rows)
    return held


# --- complete --------------------------------------------------------------------------------


def complete(tx: Transaction, completions: Sequence[Completion]) -> Recorded:
    """Record how attempts ended: a result and a final state, or back to the queue.

    Each takes effect only while its lease is still held; the others are dropped and counted.
    """
    # All tasks before any counter, and jobs at last: the order of locks at the top of this file.
    returned = [
        each
        for each in completions
        if isinstance(each.decision, TryAgain) and returns.put_back(tx, each, each.decision)
    ]
    final = [each for each in completions if isinstance(each.decision, Finish)]
    attempts.record(tx, returned)
    recorded = _finish(tx, final)
    finished = [each for each in final if (each.lease.task_id, each.lease.token) in recorded]
    # An outcome with a lost lease is no evidence about its host, and its job may be gone.
    usage_limits.note(tx, returns.limits_of(returned))
    meaning = _store(tx, finished, _setbacks([*finished, *returned]))
    for each in returned:
        again, lease = each.decision, each.lease
        if isinstance(again, TryAgain) and again.unused and lease.is_paced and lease.takes_slot:
            returns.take_permit_back(tx, each.lease)
    returns.unstart_jobs(tx, returned)
    return Recorded(
        finished=len(finished),
        fenced=len(completions) - len(finished) - len(returned),
        freed=Counter(
            each.lease.host_key for each in (*finished, *returned) if each.lease.takes_slot
        ),
        results=finished,
        returned=returned,
        **meaning,
    )


# The token stays with a finished task: it tells which of two leases of one task, both in the same
# flush, was the one that counted.
_FINISHED = {name: value for name, value in FREED.items() if name != "lease_token"}


def _finish_statement(event: TaskEvent) -> Prepared:
    return Prepared(
        sa.update(task)
        .where(
            # The ids alone find the rows by their key; the pairs are the fence.
            ids_in(task.c.id, "ids"),
            pairs_in(task.c.id, task.c.lease_token, "held"),
            STILL_RUNNING,
        )
        .values(state=sa.literal(task_target(event), task.c.state.type), **_FINISHED)
        .returning(task.c.id, task.c.lease_token)
    )


_FINISH = {
    event: _finish_statement(event)
    for event in (TaskEvent.SUCCEED, TaskEvent.FAIL, TaskEvent.CANCEL)
}


def _finish(tx: Transaction, completions: Sequence[Completion]) -> set[tuple[int, int]]:
    """End the tasks whose leases are still held; returns these leases, as (task, token)."""
    by_event: dict[TaskEvent, list[tuple[int, int]]] = {}
    for each in completions:
        by_event.setdefault(_final_event(each.outcome), []).append(
            (each.lease.task_id, each.lease.token)
        )
    recorded: set[tuple[int, int]] = set()
    for event, held in by_event.items():
        ids = [task_id for task_id, _ in held]
        rows = _FINISH[event].run(tx, {"ids": ids, **id_pairs(tx, "held", held)})
        recorded.update((row.id, row.lease_token) for row in rows)
    return recorded


def _final_event(outcome: Outcome) -> TaskEvent:
    if isinstance(outcome, Succeeded):
        return TaskEvent.SUCCEED
    return TaskEvent.CANCEL if outcome.code is ErrorCode.CANCELLED else TaskEvent.FAIL


_INSERT_RESULTS = Prepared(sa.insert(result))
_JSON_TEXTS = [name for name in REPLIED if isinstance(result.c[name].type, sa.JSON)]
_TEXTS = [name for name in REPLIED if name not in _JSON_TEXTS]


def _setbacks(completions: Sequence[Completion]) -> Counter[int]:
    """The number of calls of each job that found the host busy or timed out."""
    return Counter(
        each.lease.job_key
        for each in completions
        if each.lease.takes_slot
        and isinstance(each.outcome, Failed)
        and each.outcome.code in _SETBACKS
    )


def _store(
    tx: Transaction, finished: Sequence[Completion], setbacks: Counter[int]
) -> dict[str, bool]:
    """Store results and count them; returns the fields of `Recorded` that follow."""
    by_job: dict[int, list[Completion]] = {job_key: [] for job_key in setbacks}
    for each in finished:
        by_job.setdefault(each.lease.job_key, []).append(each)
    rows: list[dict[str, Any]] = []
    may_end = stopped = False
    # In the order of keys, so that two flushes never wait for each other crosswise.
    for job_key, own in sorted(by_job.items()):
        tally = _tally(own, setbacks[job_key])
        if (counted := count(tx, job_key, tally)) is None:
            continue
        rows += [_result_row(each, counted.first_event + n) for n, each in enumerate(own)]
        may_end = may_end or counted.all_done
        stopped = stopped or counted.stopped
    if rows:
        _INSERT_RESULTS.run(tx, rows)
    return {"job_may_end": may_end, "job_stopped": stopped}


def _tally(finished: Sequence[Completion], setbacks: int) -> CounterChange:
    tally = CounterChange(events=len(finished), setbacks=setbacks)
    for each in finished:
        tally.add(task_target(_final_event(each.outcome)))
        metrics = each.outcome.metrics
        tally.prompt_tokens += metrics.prompt_eval_count or 0
        tally.completion_tokens += metrics.eval_count or 0
    return tally


def _result_row(completion: Completion, event: int) -> dict[str, Any]:
    outcome, metrics = completion.outcome, completion.outcome.metrics
    failed = outcome if isinstance(outcome, Failed) else None
    return {
        "id": completion.lease.task_id,
        "status": task_target(_final_event(outcome)),
        "model": completion.lease.call.model,
        **{name: getattr(outcome, name) for name in _TEXTS},
        **{name: json_text(getattr(outcome, name)) for name in _JSON_TEXTS},
        **{name: getattr(metrics, name) for name in METRICS},
        "error_code": failed.code if failed else None,
        "error": failed.message if failed else None,
        "attempts": completion.lease.attempt,
        "host": completion.host_url,
        "started_at_ms": completion.started_at_ms,
        "finished_at_ms": completion.finished_at_ms,
        "event_id": prompt_id(completion.lease.job_key, event),
    }


# --- rescue ----------------------------------------------------------------------------------

_LOST = (
    sa.select(task.c.id, task.c.losses, task.c.attempt)
    .where(RUNNING, task.c.lease_until_ms < sa.bindparam("before"))
    .order_by(task.c.lease_until_ms)
    .limit(sa.bindparam("most"))
    .with_for_update(skip_locked=True)
)
_RESCUE = (
    sa.update(task)
    .where(task.c.id.in_(sa.bindparam("ids", expanding=True)), STILL_RUNNING)
    .values(
        state=sa.literal(task_target(TaskEvent.RESCUE), task.c.state.type),
        attempt=task.c.attempt - 1,
        losses=task.c.losses + 1,
        **FREED,
    )
)
_WAIT = (
    sa.update(task)
    .where(task.c.id == sa.bindparam("waiting"), PENDING)
    .values(available_at_ms=sa.bindparam("available_at", type_=sa.BigInteger))
)
_GIVE_UP = (
    sa.update(task)
    .where(task.c.id.in_(sa.bindparam("ids", expanding=True)), STILL_RUNNING)
    .values(
        state=sa.literal(task_target(TaskEvent.FAIL), task.c.state.type),
        losses=task.c.losses + 1,
        **FREED,
    )
)


def _at_once(losses: int) -> float:
    del losses
    return 0.0


def rescue(
    tx: Transaction,
    *,
    limit: int = 500,
    backoff_s: Callable[[int], float] = _at_once,
    all_running: bool = False,
) -> int:
    """Take prompts back from workers whose leases ran out; returns how many there were.

    A lost lease is the worker's failure, so it is not charged to the prompt, until `MOST_CRASHES`.
    After the first loss a prompt keeps its place. After more it waits `backoff_s(losses)`, drawn
    for each anew: of prompts that were lost together one may be what ends the worker, and the
    others are to come back apart from it.
    `all_running` takes every running prompt, for the start of a database's only worker.
    """
    before = (1 << 62) if all_running else tx.now_ms()
    lost = tx.execute(_LOST, {"before": before, "most": limit}).all()
    back = [row.id for row in lost if row.losses + 1 < MOST_CRASHES]
    given_up = [(row.id, row.attempt) for row in lost if row.losses + 1 >= MOST_CRASHES]
    if back:
        attempts.record_lost(tx, back)
        tx.execute(_RESCUE, {"ids": back})
    if again := [row for row in lost if 0 < row.losses < MOST_CRASHES - 1]:
        now = tx.now_ms()
        waits = [(row.id, backoff_s(row.losses + 1)) for row in again]
        tx.execute(
            _WAIT,
            [{"waiting": key, "available_at": now + int(wait_s * 1000)} for key, wait_s in waits],
        )
    if given_up:
        tx.execute(_GIVE_UP, {"ids": [task_id for task_id, _ in given_up]})
        store_results_without_call(
            tx,
            [task_id for task_id, _ in given_up],
            status=TaskState.FAILED,
            code=ErrorCode.LEASE_LOST,
            message=f"What ran this prompt died {MOST_CRASHES} times, in the end the worker.",
        )
    return len(lost)
