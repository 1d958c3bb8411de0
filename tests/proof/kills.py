"""Workers are killed and frozen, sessions cut, the database restarted: nothing is lost or doubled.

    python -m tests.proof kills [--seed N] [--scale X]

What is compared with what is told in docs/proof.md.
"""

from __future__ import annotations

import contextlib
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

from promptmill.simulator import answer_text
from promptmill.store.db import schema
from promptmill.store.db.database import Database, Transaction
from promptmill.store.db.tables.batches import job, prompt, prompt_id, result, task
from promptmill.store.db.tables.workers import worker
from tests.own_postgresql import OwnPostgresql
from tests.proof.audit import Audit, begin_audit, read_audit
from tests.proof.processes import Command, PatientClient, Service, scratch, simulator, table

LEASE_S = 2.0
SLOTS = 12
"""Of each of the two hosts."""
WORKERS = 4
QUICK = {
    "PROMPTMILL_LEASE_S": str(LEASE_S),
    "PROMPTMILL_HEARTBEAT_S": "0.6",
    "PROMPTMILL_POLL_S": "0.2",
    "PROMPTMILL_CONCURRENCY": str(2 * SLOTS),
}
LONG_FREEZE = 5.0
"""Leases that one worker is frozen for, while the others go on."""
OTHERS_RECORD_WITHIN = 2.5
"""Leases: half of one until the transaction that a frozen worker may be in is ended, one until its
prompts are taken back, and one for these to be worked off."""
STUCK_AFTER_S = 900.0


@dataclass(frozen=True)
class Plan:
    """A batch of the run."""

    name: str
    prompts: int
    max_concurrent: int
    delay_s: float = 0.0

    def texts(self) -> list[str]:
        return [f"{self.name} question {number}" for number in range(self.prompts)]


def plans(scale: float) -> list[Plan]:
    return [
        Plan("wide", round(1800 * scale), max_concurrent=40),
        Plan("narrow", round(700 * scale), max_concurrent=5),
        Plan("paced", round(350 * scale), max_concurrent=8, delay_s=0.05),
        Plan("slow", round(250 * scale), max_concurrent=3, delay_s=0.1),
    ]


@dataclass
class Havoc:
    """Does harm by a seeded schedule, and repairs it, one thing at a time."""

    random: random.Random
    victims: Sequence[Command]
    postgresql: OwnPostgresql | None = None
    """None when the database is a file."""
    done: Counter[str] = field(default_factory=Counter)
    frozen_ms: list[tuple[int, int]] = field(default_factory=list)
    """When one worker alone was frozen for long: from and until, by this machine's clock."""
    _deck: list[str] = field(default_factory=list)

    def step(self) -> None:
        """Wait a little, then do something."""
        self._rest(self.random.uniform(0.3, 1.2))
        if not self._deck:
            self._deck = ["kill"] * 3 + ["freeze"] * 4
            if self.postgresql is not None:
                self._deck += ["cut sessions"] * 2 + ["restart database"] + ["long freeze"] * 2
            self.random.shuffle(self._deck)
        kind = self._deck.pop()
        match kind:
            case "kill":
                victim = self.random.choice(self.victims)
                victim.kill()
                victim.start_again()
                if self.postgresql is None and isinstance(victim, Service):
                    # Nobody else works meanwhile: it is let go on a little before the next harm.
                    victim.until_up()
                    self._rest(self.random.uniform(0.5, 3))
            case "freeze":
                self._freeze()
            case "long freeze":
                self._freeze_long()
            case "cut sessions":
                self._cut_sessions()
            case _:
                assert self.postgresql is not None
                self.postgresql.stop()
                self._rest(self.random.uniform(0.1, 1.0))
                self.postgresql.start()
        self.done[kind] += 1

    def _freeze(self) -> None:
        chosen = self.random.choices(self.victims, k=2)
        victims = [victim for victim in dict.fromkeys(chosen) if victim.alive]
        for victim in victims:
            victim.freeze()
        self._rest(LEASE_S * self.random.uniform(0.4, 2.5))
        for victim in victims:
            victim.thaw()

    def _freeze_long(self) -> None:
        """Freeze one worker, whatever it is doing, beyond its lease."""
        victim = self.random.choice([each for each in self.victims if each.alive])
        began_ms = time.time_ns() // 1_000_000
        victim.freeze()
        self._rest(LEASE_S * LONG_FREEZE)
        victim.thaw()
        self.frozen_ms.append((began_ms, time.time_ns() // 1_000_000))

    def _cut_sessions(self) -> None:
        assert self.postgresql is not None
        with psycopg.connect(self.postgresql.socket_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name LIKE 'promptmill%' AND pid <> pg_backend_pid()"
            )

    def _rest(self, seconds: float) -> None:
        """Wait, and start again who could not start because the database was away."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            for victim in self.victims:
                if not victim.alive:
                    victim.start_again()
                    self.done["restarts of who could not start"] += 1
            time.sleep(min(left, 0.2))

    def end(self) -> None:
        """Everybody well again."""
        for victim in self.victims:
            if victim.frozen:
                victim.thaw()
        self._rest(0.5)


@contextlib.contextmanager
def two_hosts(folder: Path) -> Iterator[tuple[str, Sequence[Path]]]:
    """Two simulated hosts with slots, as the settings have them, and the logs of their calls."""
    logs = [folder / f"calls-{number}.ndjson" for number in (1, 2)]
    with contextlib.ExitStack() as stack:
        urls = [
            stack.enter_context(
                simulator(folder, latency_s=0.15, log=log, name=f"simulator-{number}")
            )
            for number, log in enumerate(logs, 1)
        ]
        yield ",".join(f"{url};slots={SLOTS}" for url in urls), logs


def _deadlocks(url: str) -> int:
    """How many PostgreSQL has counted since its last unclean start, which none of these is."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute("SELECT sum(deadlocks) FROM pg_stat_database").fetchone()
    assert row is not None
    return int(row[0])


def on_postgresql(*, seed: int, scale: float) -> None:
    """`serve --no-worker` and four workers on a PostgreSQL of their own."""
    with scratch("kills") as folder:
        server = OwnPostgresql(folder / "postgresql")
        url = server.socket_url
        schema.upgrade(url)
        with two_hosts(folder) as (hosts, logs):
            outside = {"DATABASE_URL": url, "PROMPTMILL_OLLAMA_HOSTS": hosts, **QUICK}
            service = Service(folder=folder, worker=False, **outside)
            arguments = ["worker", "--concurrency", str(2 * SLOTS)]
            workers = [
                Command(f"worker-{number}", arguments, folder=folder, **outside)
                for number in range(WORKERS)
            ]
            service.until_up()
            try:
                run = _run(url, service, [*workers, service], server, seed=seed, scale=scale)
            finally:
                for each in (service, *workers):
                    each.stop()
            deadlocks = _deadlocks(url)
        run.judge(logs)
        run.judge_deadlocks(deadlocks)
        server.close()
        run.tell(f"PostgreSQL, serve --no-worker and {WORKERS} workers, seed {seed}")
        assert run.fenced > 0, "no late completion was fenced off: the run proves nothing"
        assert run.harm.keys() >= {
            "kill",
            "freeze",
            "long freeze",
            "cut sessions",
            "restart database",
        }


def on_sqlite(*, seed: int, scale: float) -> None:
    """One `serve` that works off a file."""
    with scratch("kills") as folder:
        url = f"sqlite:///{folder / 'promptmill.db'}"
        schema.upgrade(url)
        with two_hosts(folder) as (hosts, logs):
            outside = {"DATABASE_URL": url, "PROMPTMILL_OLLAMA_HOSTS": hosts, **QUICK}
            service = Service(folder=folder, **outside)
            service.until_up()
            try:
                run = _run(url, service, [service], None, seed=seed, scale=scale)
            finally:
                service.stop()
        run.judge(logs)
        run.tell(f"SQLite, one serve process, seed {seed}")


def _run(
    url: str,
    service: Service,
    victims: Sequence[Command],
    server: OwnPostgresql | None,
    *,
    seed: int,
    scale: float,
) -> Run:
    database = Database(url)
    database.write_now(begin_audit)
    database.close_now()
    havoc = Havoc(random.Random(seed), victims, server)
    began = time.monotonic()
    with PatientClient(service.url) as client:
        batches = {client.submit(plan.texts(), **_fields(plan)): plan for plan in plans(scale)}
        left = set(batches)
        while left:
            assert time.monotonic() - began < STUCK_AFTER_S, f"{left} do not end"
            havoc.step()
            left = {each for each in left if not _has_ended(url, each)}
        havoc.end()
        told = {batch_id: client.batch(batch_id) for batch_id in batches}
        return Run(
            url,
            batches,
            told,
            havoc.done,
            time.monotonic() - began,
            client.refused,
            frozen_ms=havoc.frozen_ms,
        )


def _fields(plan: Plan) -> dict[str, Any]:
    return {"max_concurrent": plan.max_concurrent, "rate_limit_delay": plan.delay_s}


def _has_ended(url: str, batch_id: str) -> bool:
    database = Database(url)
    try:
        ended = sa.select(job.c.finished_at_ms).where(job.c.id == batch_id)
        return database.read_now(lambda tx: tx.execute(ended).scalar_one()) is not None
    finally:
        database.close_now()


@dataclass
class Run:
    """What a run left behind, and the judgement on it."""

    url: str
    batches: dict[str, Plan]
    told: dict[str, dict[str, Any]]
    """The batches as the service tells of them at the end."""
    harm: Counter[str]
    seconds: float
    refused: int
    frozen_ms: Sequence[tuple[int, int]] = ()
    figures: list[tuple[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    fenced: int = 0

    def judge(self, logs: Sequence[Path]) -> None:
        """Read the database and the simulators' logs; raises at the end if anything is wrong."""
        database = Database(self.url)
        try:
            audit = read_audit(database)
            rows = database.read_now(_rows_of_batches)
            self.fenced = int(
                database.read_now(
                    lambda tx: tx.execute(sa.select(sa.func.sum(worker.c.fenced))).scalar_one()
                )
                or 0
            )
        finally:
            database.close_now()
        self.figures += [("harm done", _listed(self.harm)), ("seconds", f"{self.seconds:.0f}")]
        self._judge_results(rows, audit)
        self._judge_limits(rows, audit)
        self._judge_calls(logs, rows)
        self._judge_freezes(audit)
        self.figures += [
            ("claims, put back, finished", _counts(audit)),
            ("late completions fenced off (as the workers counted)", self.fenced),
            ("requests that clients had to repeat", self.refused),
        ]

    def _judge_results(self, rows: Rows, audit: Audit) -> None:
        lost = wrong = total = 0
        for batch_id, plan in self.batches.items():
            key, texts = rows.keys[batch_id], plan.texts()
            total += len(texts)
            for index, text in enumerate(texts):
                found = rows.results.get(prompt_id(key, index))
                lost += found is None
                right = answer_text("tiny", text)
                wrong += found is not None and (found.response, found.text) != (right, text)
            counts = self.told[batch_id]["counts"]
            good = {"total": len(texts), "succeeded": len(texts)}
            told = {name: number for name, number in counts.items() if number}
            self._must(told == good, f"counts of {plan.name}: {told}")
            states = Counter(one.state.value for one in rows.tasks if one.job_key == key)
            self._must(states == {"succeeded": len(texts)}, f"rows of {plan.name}: {states}")
            status = self.told[batch_id]["status"]
            self._must(status == "completed", f"{plan.name} is {status}")
        twice = sum(times > 1 for times in audit.finished.values())
        extra = len(rows.results) - total
        self.figures += [
            ("prompts accepted", total),
            ("lost", lost),
            ("recorded twice (rows too many, tasks ended twice)", f"{extra}, {twice}"),
            ("answers of another prompt", wrong),
            ("leases given while another was live", audit.double_leases),
        ]
        self._must(lost == 0, "prompts were lost")
        self._must(wrong == 0, "answers went to the wrong prompts")
        self._must(extra == twice == 0, "prompts were recorded twice")
        self._must(len(audit.finished) == total, "not every prompt was seen to end")
        self._must(audit.double_leases == 0, "two leases of one prompt were live")

    def _judge_limits(self, rows: Rows, audit: Audit) -> None:
        for batch_id, plan in self.batches.items():
            key = rows.keys[batch_id]
            most = audit.most_of_job[key]
            self._tell(
                f"{plan.name}: most granted at once, and the limit",
                f"{most}, {plan.max_concurrent}",
            )
            self._must(most <= plan.max_concurrent, f"{plan.name} had {most} running")
            if plan.delay_s:
                wanted = plan.delay_s * 1000
                gap = audit.shortest_gap_ms[key]
                told = self._shortest(rows, key)
                self._tell(
                    f"{plan.name}: shortest gap of permits, of recorded starts, the delay (ms)",
                    f"{gap}, {told}, {wanted:.0f}",
                )
                self._must(gap >= wanted - 5, f"{plan.name} had permits {gap} ms apart")
                self._must(told >= wanted - 5, f"{plan.name} had starts {told} ms apart")
        self._tell(
            "permits to start, and those taken back because no call was made",
            f"{audit.permits}, {audit.taken_back}",
        )
        most = max(audit.most_of_host.values())
        self._tell("hosts: most granted at once at one, and its slots", f"{most}, {SLOTS}")
        self._must(most <= SLOTS, f"a host had {most}")
        self._must(len(audit.most_of_host) == 2, "only one host was given prompts")

    def _judge_freezes(self, audit: Audit) -> None:
        """How long nothing was recorded while one worker was frozen and the others were not."""
        last_ms = max(audit.ended_at_ms)
        longest_ms = 0
        for began_ms, ended_ms in self.frozen_ms:
            until_ms = min(ended_ms, last_ms)
            within = [at for at in audit.ended_at_ms if began_ms < at < until_ms]
            gaps = [later - at for at, later in pairwise([began_ms, *within, until_ms])]
            longest_ms = max([longest_ms, *gaps])
        longest = longest_ms / 1000 / LEASE_S
        self._tell(
            "long freezes; leases until others recorded, at most",
            f"{len(self.frozen_ms)}; {longest:.1f}, {OTHERS_RECORD_WITHIN}",
        )
        self._must(longest <= OTHERS_RECORD_WITHIN, f"others stood still for {longest:.1f} leases")

    def judge_deadlocks(self, number: int) -> None:
        """Any is a fault: it stops two workers until PostgreSQL has found it."""
        self._tell("deadlocks of PostgreSQL", number)
        self._must(number == 0, f"{number} deadlocks")

    def _shortest(self, rows: Rows, key: int) -> int:
        starts = sorted(one.started_at_ms for one in rows.results.values() if one.job_key == key)
        return min(later - earlier for earlier, later in pairwise(starts))

    def _judge_calls(self, logs: Sequence[Path], rows: Rows) -> None:
        asked: Counter[str] = Counter()
        most = 0
        arrivals: defaultdict[str, list[float]] = defaultdict(list)
        """By prompt, in milliseconds of the clock that both simulators have."""
        for log in logs:
            in_flight = 0
            for line in log.read_text().splitlines():
                note = json.loads(line)
                if note["event"] == "arrived":
                    asked[note["prompt"]] += 1
                    arrivals[note["prompt"]].append(note["arrived"] * 1000)
                in_flight += 1 if note["event"] == "arrived" else -1
                most = max(most, in_flight)
        texts = {text for plan in self.batches.values() for text in plan.texts()}
        never, strange = texts - set(asked), set(asked) - texts
        self.figures += [
            ("calls at the hosts", sum(asked.values())),
            ("prompts called more than once", sum(times > 1 for times in asked.values())),
            ("most calls at one host at once, those of the frozen and cut off included", most),
        ]
        for plan in self.batches.values():
            if plan.delay_s:
                self._judge_arrivals(plan, arrivals, rows)
        self._must(not never, f"{len(never)} prompts have an answer and were never asked")
        self._must(not strange, f"{len(strange)} prompts were asked that nobody sent")

    def _judge_arrivals(
        self, plan: Plan, arrivals: Mapping[str, Sequence[float]], rows: Rows
    ) -> None:
        """The distance of all calls, those of workers that died or froze afterwards included.

        A call that is longer on its way than the next comes closer to it. How long the way is, the
        prompts tell that were called once: from the recorded start to the arrival, with the
        fastest for zero, since the two clocks have nothing in common. One in hundred may have been
        so long on its way that it comes too close, and by no more than that way.
        """
        called = {text: arrivals[text] for text in plan.texts()}
        ways = [
            called[one.text][0] - one.started_at_ms
            for one in rows.results.values()
            if len(called.get(one.text, ())) == 1
        ]
        way = max(ways) - min(ways)
        came = sorted(moment for moments in called.values() for moment in moments)
        gaps = [later - earlier for earlier, later in pairwise(came)]
        wanted = plan.delay_s * 1000 - 5
        close = sum(gap < wanted for gap in gaps)
        self._tell(
            f"{plan.name}: shortest gap of arrivals, longest way there, the delay (ms)",
            f"{min(gaps):.0f}, {way:.0f}, {plan.delay_s * 1000:.0f}",
        )
        self._tell(
            f"{plan.name}: arrivals closer than the delay less 5 ms", f"{close} of {len(gaps)}"
        )
        self._must(close <= len(gaps) / 100, f"{plan.name} had {close} calls too close")
        self._must(min(gaps) >= wanted - way, f"{plan.name} had calls {min(gaps):.1f} ms apart")

    def _tell(self, name: str, value: object) -> None:
        self.figures.append((name, value))

    def _must(self, holds: bool, fault: str) -> None:
        if not holds:
            self.faults.append(fault)

    def tell(self, title: str) -> None:
        table(self.figures, title=title)
        assert not self.faults, self.faults


@dataclass(frozen=True)
class Rows:
    keys: dict[str, int]
    tasks: Sequence[Any]
    results: dict[int, Any]


def _rows_of_batches(tx: Transaction) -> Rows:
    of_prompts = (
        sa.select(
            result.c.id, result.c.response, result.c.started_at_ms, prompt.c.text, task.c.job_key
        )
        .join(prompt, prompt.c.id == result.c.id)
        .join(task, task.c.id == result.c.id)
    )
    return Rows(
        keys={row.id: row.key for row in tx.execute(sa.select(job.c.id, job.c.key))},
        tasks=tx.execute(sa.select(task.c.id, task.c.job_key, task.c.state)).all(),
        results={row.id: row for row in tx.execute(of_prompts)},
    )


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {times}" for name, times in sorted(counts.items()))


def _counts(audit: Audit) -> str:
    return f"{audit.claims}, {audit.put_back}, {sum(audit.finished.values())}"


def main(*, seed: int, scale: float) -> None:
    on_postgresql(seed=seed, scale=scale)
    on_sqlite(seed=seed, scale=scale / 2)
