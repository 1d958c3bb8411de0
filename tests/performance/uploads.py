"""What one NDJSON upload costs, and what others notice of it.

    python -m tests.performance.uploads [--lines 1000000] [--ids] [--worker] [--no-worker]

The service is the real command `promptmill serve` on an empty SQLite file. Lines are made while
they are sent. Printed: seconds to the 202, the service's largest resident memory, the largest size
of the WAL file, and how long `GET /batches` and small submissions took meanwhile. With `--worker`
a batch of another client is worked off at the same time, against a host that answers at once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.performance import zero_latency_host
from tests.performance.service import QUESTION, serving

MIB = 1024 * 1024
BLOCK_LINES = 500
SMALL = {"prompts": ["a"], "model": "tiny", "priority": -100}


def body(lines: int, *, ids: bool) -> Iterator[bytes]:
    for first in range(0, lines, BLOCK_LINES):
        numbers = range(first, min(first + BLOCK_LINES, lines))
        prompts: Iterator[Any] = (f"{n}: {QUESTION}" for n in numbers)
        if ids:
            prompts = ({"id": f"question-{n}", "prompt": f"{n}: {QUESTION}"} for n in numbers)
        yield "".join(json.dumps(prompt) + "\n" for prompt in prompts).encode()


class Meanwhile:
    """What others see of the service while something goes on."""

    def __init__(self, url: str, process: psutil.Process, folder: Path) -> None:
        self._url = url
        self._process = process
        self._wal = folder / "promptmill.db-wal"
        self._stopped = threading.Event()
        self.times: dict[str, list[float]] = {"GET /batches": [], "POST /batches": []}
        self.rss = 0
        self.wal = 0

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        threads = [threading.Thread(target=work) for work in (self._ask, self._look)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join()

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60) as client:
            while not self._stopped.wait(0.02):
                self._time("GET /batches", lambda: client.get("/batches?limit=100"))
                if len(self.times["GET /batches"]) % 20 == 0:
                    self._time("POST /batches", lambda: client.post("/batches", json=SMALL))

    def _time(self, name: str, ask: Any) -> None:
        began = time.perf_counter()
        ask().raise_for_status()
        self.times[name].append(time.perf_counter() - began)

    def _look(self) -> None:
        while not self._stopped.wait(0.05):
            self.rss = max(self.rss, self._process.memory_info().rss)
            with contextlib.suppress(FileNotFoundError):
                self.wal = max(self.wal, self._wal.stat().st_size)

    def tell(self) -> None:
        print(f"  resident {self.rss / MIB:.0f} MiB at most, WAL {self.wal / MIB:.0f} MiB at most")
        for name, times in self.times.items():
            if len(times) > 1:
                centiles = statistics.quantiles(times, n=100)
                print(
                    f"  {name} ({len(times)} times): p50 {centiles[49] * 1000:.0f} ms,"
                    f" p99 {centiles[98] * 1000:.0f} ms, longest {max(times) * 1000:.0f} ms"
                )


def measure(lines: int, *, ids: bool, worker: bool) -> None:
    with (
        tempfile.TemporaryDirectory() as name,
        zero_latency_host.running() as host_url,
        serving(Path(name), host_url, PROMPTMILL_EMBEDDED_WORKER=str(worker).lower()) as (
            url,
            process,
        ),
        httpx.Client(base_url=url, timeout=None) as client,
    ):
        print(f"{lines} lines{' with ids' if ids else ''}, {'with' if worker else 'no'} worker")
        other = None
        if worker:
            fields = {"model": "tiny", "rate_limit_delay": 0, "max_concurrent": 32}
            prompts = [f"{n}: {QUESTION}" for n in range(100_000)]
            other = client.post("/batches", json={"prompts": prompts, **fields}).json()["id"]
        before = process.memory_info().rss
        meanwhile = Meanwhile(url, process, Path(name))
        with meanwhile.watched():
            began = time.perf_counter()
            response = client.post(
                "/batches",
                params={"model": "tiny", "rate_limit_delay": 3600, "priority": -100},
                content=body(lines, ids=ids),
                headers={"content-type": "application/x-ndjson"},
            )
            elapsed = time.perf_counter() - began
        assert response.status_code == 202, response.text
        assert response.json()["counts"]["total"] == lines
        print(f"  202 after {elapsed:.1f} s: {lines / elapsed:.0f} lines/s")
        print(f"  resident {before / MIB:.0f} MiB before")
        meanwhile.tell()
        if other is not None:
            done = client.get(f"/batches/{other}?limit=0").json()["counts"]["succeeded"]
            print(f"  the other batch meanwhile: {done / elapsed:.0f} prompts/s")
        size = sum(path.stat().st_size for path in Path(name).iterdir())
        print(f"  database {size / MIB:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--ids", action="store_true")
    parser.add_argument("--worker", action=argparse.BooleanOptionalAction, default=False)
    given = parser.parse_args()
    measure(given.lines, ids=given.ids, worker=given.worker)


if __name__ == "__main__":
    main()
