"""SQLite's write-ahead log stays bounded while readers always overlap.

    python -m tests.proof wal [--seconds 300]

One `serve` on SQLite works off batches without a pause. Beside it eight readers read pages of its
results, each page in a transaction that is held open for a moment, so that at every moment one of
them has begun before another ends. Left to itself, SQLite never begins such a log anew.
"""

from __future__ import annotations

import itertools
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from tests.proof.processes import Periodic, Service, scratch, simulator, table

READERS = 8
PAGE = 500
HELD_S = 0.2
"""For which a reader keeps its transaction open."""
PROMPTS = 2_000
"""Of a batch, with texts that make some megabytes of log a second."""
LOOK_EVERY_S = 0.2
MOST_MB = 128.0


def main(*, seconds: float) -> None:
    with scratch("wal") as folder:
        path = folder / "promptmill.db"
        with simulator(folder, slots=64) as host_url:
            service = Service(folder=folder, DATABASE_URL=f"sqlite:///{path}", OLLAMA_HOST=host_url)
            service.until_up()
            try:
                sizes, prompts, pages = _use(service, path, seconds=seconds)
            finally:
                service.stop()
    _judge(sizes, prompts, pages, seconds)


def _use(service: Service, path: Path, *, seconds: float) -> tuple[list[float], int, list[int]]:
    sizes: list[float] = []
    log = path.with_name(f"{path.name}-wal")
    readers = [Reader(path, number) for number in range(READERS)]
    prompts = 0
    deadline = time.monotonic() + seconds
    with (
        Periodic(LOOK_EVERY_S, lambda: sizes.append(log.stat().st_size / 1e6)) as watch,
        httpx.Client(base_url=service.url, timeout=60) as http,
    ):
        for reader in readers:
            reader.start()
        while time.monotonic() < deadline:
            prompts += _work_off_a_batch(http)
        for reader in readers:
            reader.stop.set()
            reader.join()
    assert not watch.errors, watch.errors
    return sizes, prompts, [reader.pages for reader in readers]


class Reader(threading.Thread):
    """Reads the newest results again and again, and takes its time with each page."""

    def __init__(self, path: Path, number: int) -> None:
        super().__init__(name=f"reader-{number}")
        self._path = path
        self._first_wait_s = HELD_S * number / READERS
        self.stop = threading.Event()
        self.pages = 0

    def run(self) -> None:
        """Read until `stop` is set."""
        time.sleep(self._first_wait_s)
        with closing(sqlite3.connect(self._path, isolation_level=None, timeout=10)) as connection:
            while not self.stop.is_set():
                began = time.monotonic()
                connection.execute("BEGIN")
                connection.execute(f"SELECT * FROM result ORDER BY id DESC LIMIT {PAGE}").fetchall()
                time.sleep(max(HELD_S - (time.monotonic() - began), 0))
                connection.execute("COMMIT")
                self.pages += 1


def _work_off_a_batch(http: httpx.Client) -> int:
    prompts = [f"{number} " + "Tell me more. " * 1_000 for number in range(PROMPTS)]
    body = {"model": "tiny", "prompts": prompts, "max_concurrent": 64, "rate_limit_delay": 0}
    batch_id = _answer(http.post("/batches", json=body))["id"]
    while _answer(http.get(f"/batches/{batch_id}?limit=0&wait_s=20"))["finished_at"] is None:
        pass
    http.delete(f"/batches/{batch_id}").raise_for_status()
    return PROMPTS


def _answer(response: httpx.Response) -> Any:
    return response.raise_for_status().json()


def _judge(sizes: Sequence[float], prompts: int, pages: Sequence[int], seconds: float) -> None:
    written_mb = sum(max(later - earlier, 0.0) for earlier, later in itertools.pairwise(sizes))
    table(
        [
            ("seconds", f"{seconds:.0f}"),
            ("prompts worked off and deleted", prompts),
            ("pages read, by each reader", f"{min(pages)} to {max(pages)}"),
            ("log written", f"{written_mb:.0f} MB at least"),
            (
                "times it was emptied",
                sum(b < a / 2 for a, b in itertools.pairwise(sizes)),
            ),
            ("largest log", f"{max(sizes):.1f} MB (at most {MOST_MB:.0f})"),
        ],
        title=f"Write-ahead log, {READERS} readers that always overlap",
    )
    assert written_mb > MOST_MB, "too little was written to show anything"
    assert max(sizes) <= MOST_MB
