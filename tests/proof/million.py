"""A million prompts in one batch: stored, worked on, listed, exported, cancelled and deleted.

    python -m tests.proof million [--prompts 1000000] [--work-s 60]

Meanwhile the resident memory of the service is sampled, and somebody else asks it for small things
without a pause: how long each of these requests took is what counts.
"""

from __future__ import annotations

import contextlib
import sqlite3
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.proof.processes import Periodic, Service, scratch, simulator, table

MOST_RSS_MB = 300.0
MOST_P99_S = 1.0
PER_CHUNK = 2_000
TEXT = "What would you say to somebody who asks you this for the first time today? " * 2


@dataclass
class Watch:
    """The figures, by what is being done at the moment."""

    phase: str = "start"
    took: dict[str, float] = field(default_factory=dict)
    """Seconds of each phase."""
    rss_mb: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Greatest resident memory in each phase."""
    latencies: defaultdict[tuple[str, str], list[float]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """Seconds of small requests, by phase and kind."""
    failed: int = 0

    @contextlib.contextmanager
    def during(self, phase: str) -> Iterator[None]:
        self.phase = phase
        began = time.monotonic()
        yield
        self.took[phase] = time.monotonic() - began
        print(f"  {phase}: {self.took[phase]:.0f} s", flush=True)


class Bystander(threading.Thread):
    """Somebody who uses the service for small things meanwhile."""

    def __init__(self, url: str, watch: Watch) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._watch = watch
        self.batch_id: str | None = None
        """The large batch, once it is there."""
        self.stopping = threading.Event()

    def run(self) -> None:
        small = {"model": "tiny", "prompts": ["a small one"], "rate_limit_delay": 0}
        with httpx.Client(base_url=self._url, timeout=60) as http:
            while not self.stopping.wait(0.02):
                self._time(http, "GET /batches", "GET", "/batches?limit=20")
                self._time(http, "POST of a small batch", "POST", "/batches", json=small)
                if self.batch_id is not None:
                    path = f"/batches/{self.batch_id}?limit=0"
                    self._time(http, "GET /batches/{id}?limit=0", "GET", path)

    def _time(self, http: httpx.Client, kind: str, method: str, path: str, **options: Any) -> None:
        phase, began = self._watch.phase, time.monotonic()
        try:
            status = http.request(method, path, **options).status_code
        except httpx.TransportError:
            status = 0
        self._watch.latencies[phase, kind].append(time.monotonic() - began)
        # Once the large batch is deleted, that it is not found is the right answer.
        self._watch.failed += status not in {200, 202, 404}


def main(*, prompts: int, work_s: float) -> None:
    with scratch("million") as folder:
        path = folder / "promptmill.db"
        with simulator(folder, slots=512) as host_url:
            outside = {"DATABASE_URL": f"sqlite:///{path}", "OLLAMA_HOST": host_url}
            service = Service(folder=folder, **outside)
            service.until_up()
            watch = Watch()
            process = psutil.Process(service.process.pid)

            def look() -> None:
                rss_mb = process.memory_info().rss / 1e6
                watch.rss_mb[watch.phase] = max(watch.rss_mb[watch.phase], rss_mb)

            bystander = Bystander(service.url, watch)
            print(f"One batch of {prompts} prompts:")
            try:
                with Periodic(0.2, look):
                    bystander.start()
                    _live_through(service.url, path, bystander, watch, prompts, work_s)
                    bystander.stopping.set()
                    bystander.join()
            finally:
                service.stop()
    _judge(watch)


def _live_through(
    url: str, path: Path, bystander: Bystander, watch: Watch, prompts: int, work_s: float
) -> None:
    with httpx.Client(base_url=url, timeout=None) as http:
        with watch.during("upload"):
            batch_id = _upload(http, prompts)
        bystander.batch_id = batch_id
        with watch.during("work"):
            time.sleep(work_s)
            done = _counts(http, batch_id)["succeeded"]
        with watch.during("pages of results"):
            _read_pages(http, batch_id, pages=50)
        with watch.during("export while it runs"):
            exported = _export(http, batch_id, "ndjson")
        assert exported >= done > 0
        with watch.during("cancel"):
            http.post(f"/batches/{batch_id}/cancel").raise_for_status()
            _until_ended(http, batch_id)
        counts = _counts(http, batch_id)
        assert counts["total"] == prompts == counts["succeeded"] + counts["cancelled"]
        for kind in ("ndjson", "csv"):
            with watch.during(f"export of all as {kind}"):
                assert _export(http, batch_id, kind) == prompts
        with watch.during("delete, until its rows are gone"):
            http.delete(f"/batches/{batch_id}").raise_for_status()
            assert http.get(f"/batches/{batch_id}").status_code == 404
            _until_gone(path, fewer_than=prompts // 20)
    print(f"  {done} prompts were done in {work_s:.0f} s of work")


def _upload(http: httpx.Client, prompts: int) -> str:
    def lines() -> Iterator[bytes]:
        for first in range(0, prompts, PER_CHUNK):
            numbers = range(first, min(first + PER_CHUNK, prompts))
            yield "".join(f'"{number}: {TEXT}"\n' for number in numbers).encode()

    response = http.post(
        "/batches",
        params={"model": "tiny", "max_concurrent": 32, "rate_limit_delay": 0},
        headers={"Content-Type": "application/x-ndjson"},
        content=lines(),
    )
    assert response.status_code == 202, response.text
    return str(response.json()["id"])


def _counts(http: httpx.Client, batch_id: str) -> dict[str, int]:
    return http.get(f"/batches/{batch_id}?limit=0").raise_for_status().json()["counts"]


def _read_pages(http: httpx.Client, batch_id: str, *, pages: int) -> None:
    cursor = None
    for _ in range(pages):
        query = {"limit": 1000} | ({"cursor": cursor} if cursor else {})
        page = http.get(f"/batches/{batch_id}/results", params=query).raise_for_status().json()
        cursor = page["next_cursor"]
        if cursor is None:
            return


def _export(http: httpx.Client, batch_id: str, kind: str) -> int:
    """How many results there were; a CSV's first line is its heading."""
    lines = 0
    with http.stream("GET", f"/batches/{batch_id}/results?format={kind}") as export:
        export.raise_for_status()
        for piece in export.iter_bytes():
            lines += piece.count(b"\n")
    return lines - (kind == "csv")


def _until_ended(http: httpx.Client, batch_id: str) -> None:
    deadline = time.monotonic() + 900
    while not http.get(f"/batches/{batch_id}?limit=0&wait_s=30").json()["finished_at"]:
        assert time.monotonic() < deadline, "the batch does not end"


def _until_gone(path: Path, *, fewer_than: int) -> None:
    """Looks into the file; what the service has deleted cannot be asked for."""
    deadline = time.monotonic() + 1800
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        count = "SELECT count(*) FROM (SELECT 1 FROM prompt LIMIT ?)"
        while connection.execute(count, [fewer_than]).fetchone()[0] >= fewer_than:
            assert time.monotonic() < deadline, "the rows stay"
            time.sleep(0.5)


def _judge(watch: Watch) -> None:
    rows: list[tuple[str, Any]] = [
        (f"{phase}: seconds, most resident MB", f"{seconds:.0f}, {watch.rss_mb[phase]:.0f}")
        for phase, seconds in watch.took.items()
    ]
    slow = 0.0
    for kind in sorted({kind for _, kind in watch.latencies}):
        of_kind = {
            phase: seconds for (phase, one), seconds in watch.latencies.items() if one == kind
        }
        every = [second for seconds in of_kind.values() for second in seconds]
        worst = max(of_kind, key=lambda phase: max(of_kind[phase]))
        slow = max(slow, _p99(every))
        rows.append(
            (f"{kind}: requests, p50, p99, longest (ms)", _shown(every) + f" (during {worst})")
        )
    most = max(watch.rss_mb.values())
    rows += [
        ("most resident memory", f"{most:.0f} MB (at most {MOST_RSS_MB:.0f})"),
        ("largest p99", f"{slow:.3f} s (at most {MOST_P99_S:.0f})"),
        ("small requests that failed", watch.failed),
    ]
    table(rows, title="A million, one serve process on SQLite")
    assert watch.failed == 0
    assert most < MOST_RSS_MB
    assert slow < MOST_P99_S


def _p99(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100)[98] if len(seconds) > 1 else seconds[0]


def _shown(seconds: list[float]) -> str:
    figures = (statistics.median(seconds), _p99(seconds), max(seconds))
    return ", ".join([str(len(seconds)), *(f"{figure * 1000:.0f}" for figure in figures)])
