"""The service under steady use for minutes: memory, open files and the WAL do not grow.

    python -m tests.proof soak [--minutes 10]

One `serve` on SQLite works off batches that are submitted, followed, read, exported, cancelled,
retried and deleted all the time. The figures of the last quarter are compared with those of the
second: by then every cache has been filled once.
"""

from __future__ import annotations

import itertools
import random
import statistics
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.proof.processes import Periodic, Service, scratch, simulator, table

PROMPTS = 150
"""Of a batch; a text of some length each."""
KEPT = 12
"""Ended batches that are kept before the oldest is deleted."""
EVERY_S = 2.0
ALLOWED_GROWTH_MB = 12.0
ALLOWED_FILES = 6
WAL_MB = 64.0


@dataclass(frozen=True)
class Sample:
    """What the process holds at one moment."""

    at_s: float
    rss_mb: float
    files: int
    wal_mb: float
    database_mb: float


def main(*, minutes: float) -> None:
    with scratch("soak") as folder:
        path = folder / "promptmill.db"
        with simulator(folder, latency_s=0.02, slots=64) as host_url:
            outside = {"DATABASE_URL": f"sqlite:///{path}", "OLLAMA_HOST": host_url}
            service = Service(folder=folder, **outside)
            service.until_up()
            try:
                samples, done = _soak(service, path, seconds=minutes * 60)
            finally:
                service.stop()
    _judge(samples, done)


def _soak(service: Service, path: Path, *, seconds: float) -> tuple[list[Sample], Counter[str]]:
    samples: list[Sample] = []
    process = psutil.Process(service.process.pid)
    began = time.monotonic()

    def look() -> None:
        samples.append(
            Sample(
                at_s=time.monotonic() - began,
                rss_mb=process.memory_info().rss / 1e6,
                files=process.num_fds(),
                wal_mb=_size_mb(path.with_name(path.name + "-wal")),
                database_mb=_size_mb(path),
            )
        )

    with Periodic(EVERY_S, look) as watch, httpx.Client(base_url=service.url, timeout=60) as http:
        use = Use(http)
        while time.monotonic() - began < seconds:
            use.once()
    assert not watch.errors, watch.errors
    return samples, use.done


def _size_mb(path: Path) -> float:
    return path.stat().st_size / 1e6 if path.exists() else 0.0


class Use:
    """Everything that clients do with batches, over and over."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._random = random.Random(1)
        self._numbers = itertools.count()
        self._ended: deque[str] = deque()
        self.done: Counter[str] = Counter()

    def once(self) -> None:
        """A batch from its submission to its end, and something with those before it."""
        batch_id = self._submit()
        if self._random.random() < 0.2:
            self._ask("POST", f"/batches/{batch_id}/cancel", "cancelled")
        elif self._random.random() < 0.3:
            self._follow(batch_id)
        while not self._ask("GET", f"/batches/{batch_id}?limit=0&wait_s=20", "read")["finished_at"]:
            pass
        self._ended.append(batch_id)
        other = self._random.choice(self._ended)
        match self._random.choice(["ndjson", "csv", "page", "list", "retry"]):
            case "ndjson" | "csv" as kind:
                self._export(other, kind)
            case "page":
                self._ask("GET", f"/batches/{other}/results?limit=50", "pages of results")
            case "list":
                self._ask("GET", "/batches?limit=20", "lists")
            case _:
                self._http.post(f"/batches/{other}/retry")
                self.done["asked to retry"] += 1
        while len(self._ended) > KEPT:
            self._delete(self._ended.popleft())

    def _submit(self) -> str:
        number = next(self._numbers)
        prompts = [f"{number}.{index} " + "Tell me more. " * 20 for index in range(PROMPTS)]
        body = {"model": "tiny", "prompts": prompts, "max_concurrent": 32, "rate_limit_delay": 0}
        self.done["prompts"] += PROMPTS
        return str(self._ask("POST", "/batches", "submitted", json=body)["id"])

    def _ask(self, method: str, path: str, what: str, **options: Any) -> Any:
        response = self._http.request(method, path, **options).raise_for_status()
        self.done[what] += 1
        return response.json()

    def _follow(self, batch_id: str) -> None:
        """Listen to its events and go away in the middle, as browsers do."""
        with self._http.stream("GET", f"/batches/{batch_id}/events?results=true") as events:
            for _ in itertools.islice(events.iter_lines(), 40):
                pass
        self.done["followed"] += 1

    def _export(self, batch_id: str, kind: str) -> None:
        path = f"/batches/{batch_id}/results?format={kind}"
        with self._http.stream("GET", path) as export:
            for _ in export.iter_bytes():
                pass
        self.done[f"exported as {kind}"] += 1

    def _delete(self, batch_id: str) -> None:
        """One that runs again since it was asked to has to end before."""
        while (answer := self._http.delete(f"/batches/{batch_id}")).status_code == 409:
            self._http.get(f"/batches/{batch_id}?limit=0&wait_s=20")
        answer.raise_for_status()
        self.done["deleted"] += 1


def _judge(samples: Sequence[Sample], done: Counter[str]) -> None:
    quarter = len(samples) // 4
    early, late = samples[quarter : 2 * quarter], samples[3 * quarter :]
    rows: list[tuple[str, Any]] = [(name, number) for name, number in sorted(done.items())]
    rows += [(f"after {each.at_s:4.0f} s", _shown(each)) for each in _some(samples)]
    grown = _median(late, "rss_mb") - _median(early, "rss_mb")
    # They come and go with the calls under way, so the most of each time is what tells.
    files = max(each.files for each in late) - max(each.files for each in early)
    wal = max(each.wal_mb for each in samples)
    database = _median(late, "database_mb") - _median(early, "database_mb")
    rows += [
        ("memory, last quarter against second", f"{grown:+.1f} MB (at most {ALLOWED_GROWTH_MB})"),
        ("open files, likewise", f"{files:+} (at most {ALLOWED_FILES})"),
        ("largest WAL", f"{wal:.1f} MB (at most {WAL_MB})"),
        ("database file, likewise", f"{database:+.1f} MB"),
    ]
    flat = grown <= ALLOWED_GROWTH_MB and files <= ALLOWED_FILES and wal <= WAL_MB
    table([*rows, ("flat", "yes" if flat else "no")], title="Soak, one serve process on SQLite")
    assert flat


def _some(samples: Sequence[Sample]) -> Sequence[Sample]:
    return samples[:: max(len(samples) // 12, 1)]


def _shown(sample: Sample) -> str:
    return (
        f"{sample.rss_mb:.0f} MB resident, {sample.files} files, WAL {sample.wal_mb:.1f} MB,"
        f" database {sample.database_mb:.0f} MB"
    )


def _median(samples: Sequence[Sample], name: str) -> float:
    return statistics.median(getattr(each, name) for each in samples)
