"""Activity: results counted by minute and hour, host, model and outcome.

No prompt waits for these counts. A worker gathers them in memory and adds them with its heartbeat,
so that a killed worker loses the counts of its last seconds; results themselves are never lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from promptmill.domain.hosts.activity import (
    HOUR_S,
    KEPT_S,
    MINUTE_S,
    OTHERS,
    SUCCEEDED,
    ActivityKey,
    Bucket,
    CallTotals,
    Grouping,
    RecentOutcomes,
    Series,
    Throughput,
    Window,
)
from promptmill.domain.lifecycle import TaskState
from promptmill.store.db.database import Transaction
from promptmill.store.db.tables.activity import activity
from promptmill.store.db.tables.base import is_in

MOST_SERIES: Final = 8
"""Most hosts or models with a series of their own."""
_KEY: Final = ("span_s", "at_s", "host", "model", "outcome")
_SUMS: Final = ("prompts", "prompt_tokens", "completion_tokens", "latency_s")


def add(tx: Transaction, counted: Mapping[ActivityKey, CallTotals]) -> None:
    """Add the counts of minutes to their rows, and to those of their hours."""
    rows: dict[tuple[Any, ...], CallTotals] = {}
    for (minute_s, *about), totals in counted.items():
        for span_s in (MINUTE_S, HOUR_S):
            key = (span_s, minute_s - minute_s % span_s, *about)
            rows.setdefault(key, CallTotals()).add(totals)
    if not rows:
        return
    new = (sqlite.insert if tx.is_sqlite else postgresql.insert)(activity)
    tx.execute(
        new.on_conflict_do_update(
            index_elements=[activity.c[name] for name in _KEY],
            set_={name: activity.c[name] + new.excluded[name] for name in _SUMS},
        ),
        # In the order of keys, so that two workers never deadlock.
        [
            dict(zip(_KEY, key, strict=True)) | {name: getattr(totals, name) for name in _SUMS}
            for key, totals in sorted(rows.items())
        ],
    )


def purge(tx: Transaction) -> None:
    """Remove the counts of minutes and hours that are too old."""
    now_s = tx.now_ms() // 1000
    for span_s, kept_s in KEPT_S.items():
        tx.execute(
            sa.delete(activity).where(activity.c.span_s == span_s, activity.c.at_s < now_s - kept_s)
        )


_BUCKET_S = sa.bindparam("bucket", type_=sa.BigInteger)


def _sums_by(name: sa.ColumnElement[Any]) -> sa.Select[*tuple[Any, ...]]:
    bucket = (activity.c.at_s - activity.c.at_s % _BUCKET_S).label("bucket_at_s")
    success = sa.case((is_in(activity.c.outcome, [TaskState.SUCCEEDED]), 1), else_=0).label(
        "success"
    )
    return (
        sa.select(
            bucket,
            name.label("name"),
            success,
            *(sa.func.sum(activity.c[each]).label(each) for each in _SUMS),
        )
        .where(activity.c.span_s == sa.bindparam("span"), activity.c.at_s >= sa.bindparam("since"))
        .group_by(sa.text("bucket_at_s"), sa.text("name"), sa.text("success"))
    )


SERIES: Final = {
    Grouping.NONE: _sums_by(sa.literal("", sa.Text)),
    Grouping.MODEL: _sums_by(activity.c.model),
    Grouping.HOST: _sums_by(activity.c.host),
}


def throughput(tx: Transaction, window: Window, by: Grouping) -> Throughput:
    """Results in each interval of the window, the current interval included."""
    now_s = tx.now_ms() // 1000
    last_s = now_s - now_s % window.bucket_s
    first_s = last_s - window.length_s + window.bucket_s
    places = range(first_s, last_s + 1, window.bucket_s)
    parameters = {"bucket": window.bucket_s, "span": window.span_s, "since": first_s}
    rows = tx.execute(SERIES[by], parameters).all()
    prompts: dict[str, int] = {}
    for row in rows:
        prompts[row.name] = prompts.get(row.name, 0) + int(row.prompts)
    busiest = sorted(prompts, key=lambda name: (-prompts[name], name))
    own = busiest if len(busiest) <= MOST_SERIES else busiest[: MOST_SERIES - 1]
    found: dict[str, dict[int, tuple[CallTotals, CallTotals]]] = {}
    for row in rows:
        at = found.setdefault(row.name if row.name in own else OTHERS, {})
        failed, succeeded = at.setdefault(row.bucket_at_s, (CallTotals(), CallTotals()))
        part = succeeded if row.success else failed
        part.add(
            CallTotals(
                prompts=int(row.prompts),
                prompt_tokens=int(row.prompt_tokens),
                completion_tokens=int(row.completion_tokens),
                latency_s=float(row.latency_s),
            )
        )
    if by is Grouping.NONE:
        found.setdefault("", {})
    nothing = (CallTotals(), CallTotals())
    return Throughput(
        window=window,
        read_at_s=now_s,
        series=[
            Series(
                name=name or None,
                buckets=[
                    Bucket(at_s=at_s, succeeded=both[1], failed=both[0].prompts)
                    for at_s in places
                    for both in [found[name].get(at_s, nothing)]
                ],
            )
            for name in [*own, *sorted(found.keys() - set(own))]
        ],
    )


RECENT: Final = (
    sa.select(
        activity.c.outcome,
        sa.func.sum(activity.c.prompts).label("hour"),
        sa.func.sum(
            sa.case((activity.c.at_s == sa.bindparam("minute"), activity.c.prompts), else_=0)
        ).label("minute"),
    )
    .where(activity.c.span_s == sa.text(str(MINUTE_S)), activity.c.at_s >= sa.bindparam("since"))
    .group_by(activity.c.outcome)
)


def recent(tx: Transaction) -> RecentOutcomes:
    """Results by outcome, of the last whole minute and of the last hour."""
    now_s = tx.now_ms() // 1000
    this_minute = now_s - now_s % MINUTE_S
    parameters = {"minute": this_minute - MINUTE_S, "since": this_minute - HOUR_S}
    rows = tx.execute(RECENT, parameters).all()
    order = sorted(rows, key=lambda row: (row.outcome != SUCCEEDED, -int(row.hour), row.outcome))
    return RecentOutcomes(
        minute={row.outcome: int(row.minute) for row in order if row.minute},
        hour={row.outcome: int(row.hour) for row in order},
    )
