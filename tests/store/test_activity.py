"""Counts of results by minute and hour: added up, read as series, and removed in time."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import sqlalchemy as sa

from promptmill.domain.hosts.activity import (
    DAY_S,
    HOUR_S,
    KEPT_S,
    MINUTE_S,
    SUCCEEDED,
    WINDOWS,
    CallTotals,
    Grouping,
)
from promptmill.store.db.database import Database
from promptmill.store.db.tables.activity import activity as rows
from promptmill.store.hosts import activity
from tests.store.test_plans import plan


def minute(database: Database, *, ago: int = 0) -> int:
    now_s = database.read_now(lambda tx: tx.now_ms()) // 1000
    return now_s - now_s % MINUTE_S - ago * MINUTE_S


def totals(prompts: int, *, seconds: float = 1.0) -> CallTotals:
    return CallTotals(
        prompts=prompts,
        prompt_tokens=10 * prompts,
        completion_tokens=20 * prompts,
        latency_s=seconds * prompts,
    )


def add(database: Database, at_s: int, prompts: int, **about: Any) -> None:
    key = (at_s, about.get("host", "h"), about.get("model", "m"), about.get("outcome", SUCCEEDED))
    database.write_now(activity.add, {key: totals(prompts, seconds=about.get("seconds", 1.0))})


def read(database: Database, window: str = "1h", by: Grouping = Grouping.NONE) -> Any:
    return database.read_now(activity.throughput, WINDOWS[window], by)


def test_results_of_one_minute_are_added_up(database: Database) -> None:
    at_s = minute(database, ago=2)
    add(database, at_s, 3, seconds=1.0)
    add(database, at_s, 1, seconds=5.0)
    add(database, at_s, 2, outcome="timeout")

    (series,) = read(database).series
    (bucket,) = [one for one in series.buckets if one.succeeded.prompts or one.failed]

    assert (bucket.at_s, bucket.failed) == (at_s, 2)
    assert bucket.succeeded == CallTotals(
        prompts=4, prompt_tokens=40, completion_tokens=80, latency_s=8.0
    )


def test_every_window_has_all_its_parts_and_counts_each_result_once(database: Database) -> None:
    add(database, minute(database, ago=1), 5)
    for name, window in WINDOWS.items():
        (series,) = read(database, name).series
        places = [one.at_s for one in series.buckets]
        assert len(places) == window.length_s // window.bucket_s
        assert {after - before for before, after in itertools.pairwise(places)} == {window.bucket_s}
        assert sum(one.succeeded.prompts for one in series.buckets) == 5, name


def test_what_is_older_than_the_window_is_not_in_it(database: Database) -> None:
    add(database, minute(database, ago=90), 5)
    (hour,) = read(database, "1h").series
    (day,) = read(database, "24h").series
    assert sum(one.succeeded.prompts for one in hour.buckets) == 0
    assert sum(one.succeeded.prompts for one in day.buckets) == 5


def test_series_are_by_model_or_host_the_busiest_first(database: Database) -> None:
    at_s = minute(database)
    add(database, at_s, 1, host="a", model="small")
    add(database, at_s, 2, host="a", model="large")
    add(database, at_s, 2, host="b", model="large", outcome="timeout")
    assert [one.name for one in read(database, by=Grouping.MODEL).series] == ["large", "small"]
    assert [one.name for one in read(database, by=Grouping.HOST).series] == ["a", "b"]
    assert [one.name for one in read(database).series] == [None]


def test_names_beyond_the_busiest_share_a_series(database: Database) -> None:
    at_s = minute(database)
    for number in range(activity.MOST_SERIES + 5):
        add(database, at_s, 100 - number, model=f"m{number:02}")
    series = read(database, by=Grouping.MODEL).series
    assert len(series) == activity.MOST_SERIES
    assert series[-1].name == "other"
    counted = sum(bucket.succeeded.prompts for one in series for bucket in one.buckets)
    assert counted == sum(100 - number for number in range(activity.MOST_SERIES + 5))


def test_a_service_without_results_has_a_series_of_nothing(database: Database) -> None:
    (series,) = read(database).series
    assert {one.succeeded.prompts for one in series.buckets} == {0}
    assert read(database, by=Grouping.HOST).series == []


def test_recent_outcomes_are_those_of_the_last_whole_minute_and_of_the_hour(
    database: Database,
) -> None:
    add(database, minute(database, ago=1), 4)
    add(database, minute(database, ago=1), 1, outcome="timeout")
    add(database, minute(database, ago=30), 3, outcome="server_busy")
    add(database, minute(database, ago=90), 9, outcome="empty")
    found = database.read_now(activity.recent)
    assert found.minute == {"succeeded": 4, "timeout": 1}
    assert list(found.hour.items()) == [("succeeded", 4), ("server_busy", 3), ("timeout", 1)]


def test_minutes_and_hours_go_when_they_are_too_old(database: Database) -> None:
    for days in (0, 2, 4, 399, 402):
        add(database, minute(database) - days * DAY_S, 1)
    database.write_now(activity.purge)
    counted = sa.select(rows.c.span_s, sa.func.count().label("number")).group_by(rows.c.span_s)
    kept = database.read_now(lambda tx: tx.execute(counted).all())
    assert {row.span_s: row.number for row in kept} == {MINUTE_S: 2, HOUR_S: 4}
    assert KEPT_S == {MINUTE_S: 72 * HOUR_S, HOUR_S: 400 * DAY_S}


@pytest.fixture
def filled(database: Database) -> Database:
    """Two days of minutes of eight hosts and models."""
    last = minute(database)
    for host in range(8):
        database.write_now(
            activity.add,
            {(last - n * MINUTE_S, f"h{host}", "m", SUCCEEDED): totals(1) for n in range(2_880)},
        )
    database.write_now(lambda tx: tx.connection.exec_driver_sql("ANALYZE"))
    return database


@pytest.mark.parametrize("by", Grouping)
def test_a_series_is_read_along_the_key(filled: Database, by: Grouping) -> None:
    since = minute(filled, ago=60)
    parameters = {"bucket": 60, "span": 60, "since": since, "minute": since}
    for statement in (activity.SERIES[by], activity.RECENT):
        found = plan(filled, statement, parameters)
        assert "SCAN activity" not in found
        assert "Seq Scan" not in found
