"""A Parquet file through the command line and back: memory of the command and of the service.

    python -m tests.proof rows [--prompts 1000000] [--work-s 60]

The rows are submitted, worked on for a while, and the rest is cancelled; what is written back has
every row, with an answer or why there is none. Kept columns are compared cell by cell.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from tests.proof.processes import ROOT, Periodic, Service, scratch, simulator, table

MOST_RSS_MB = 200.0
PER_GROUP = 50_000
TEXTS = ('quotes "inside", and; commas', "two\nlines", "Où, à 5 €? 日本 🙂", "=1+1", "  spaces  ")


def rows_of(first: int, count: int) -> list[dict[str, Any]]:
    return [
        {"id": f"r{index}", "text": f"{TEXTS[index % len(TEXTS)]} {index}", "stars": index % 5}
        for index in range(first, first + count)
    ]


def main(*, rows: int, work_s: float) -> None:
    with scratch("rows") as folder, simulator(folder, slots=512) as host_url:
        given, written = folder / "given.parquet", folder / "written.parquet"
        _make(given, rows)
        service = Service(
            folder=folder,
            DATABASE_URL=f"sqlite:///{folder / 'promptmill.db'}",
            OLLAMA_HOST=host_url,
        )
        service.until_up()
        serving = psutil.Process(service.process.pid)
        figures: list[tuple[str, Any]] = []
        most = 0.0

        def measured(name: str, *arguments: str) -> str:
            """What the command prints; its memory and the service's are sampled meanwhile."""
            nonlocal most
            printed, took_s, of_command, of_service = _run(arguments, service.url, serving)
            most = max(most, of_command, of_service)
            figures.append(
                (
                    f"{name}: seconds, MB of the command, of the service",
                    f"{took_s:.0f}, {of_command:.0f}, {of_service:.0f}",
                )
            )
            print(f"  {name}: {took_s:.0f} s", flush=True)
            return printed

        try:
            options = ("--template", "Say: {{ text }}", "--keep", "*", "--rate-limit-delay", "0")
            file = ("-f", str(given), "--model", "tiny", "--max-concurrent", "32")
            batch_id = measured("submit", "submit", *file, *options).strip()
            time.sleep(work_s)
            with httpx.Client(base_url=service.url, timeout=None) as http:
                http.post(f"/batches/{batch_id}/cancel")  # 409: all of them are done.
                while not _batch(http, batch_id, wait_s=30)["finished_at"]:
                    pass
                succeeded = _batch(http, batch_id)["counts"]["succeeded"]
            measured("results", "results", batch_id, "-o", str(written))
        finally:
            service.stop()
        _compare(written, rows, succeeded)
        figures += [
            ("rows, of them with an answer", f"{rows}, {succeeded}"),
            ("most resident memory", f"{most:.0f} MB (at most {MOST_RSS_MB:.0f})"),
        ]
        table(figures, title="Rows of Parquet in and out, one serve process on SQLite")
        assert most < MOST_RSS_MB


def _make(path: Path, rows: int) -> None:
    schema = pa.schema([("id", pa.string()), ("text", pa.string()), ("stars", pa.int64())])
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, rows, PER_GROUP):
            some = rows_of(first, min(PER_GROUP, rows - first))
            writer.write_table(pa.Table.from_pylist(some, schema=schema))


def _run(
    arguments: Sequence[str], url: str, serving: psutil.Process
) -> tuple[str, float, float, float]:
    began = time.monotonic()
    most = {"command": 0.0, "service": 0.0}
    command = subprocess.Popen(
        [sys.executable, "-m", "promptmill", *arguments, "--url", url],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    running = psutil.Process(command.pid)

    def look() -> None:
        for name, process in (("command", running), ("service", serving)):
            most[name] = max(most[name], process.memory_info().rss / 1e6)

    with Periodic(0.2, look):
        printed, _ = command.communicate()
    assert command.returncode == 0, printed
    return printed, time.monotonic() - began, most["command"], most["service"]


def _batch(http: httpx.Client, batch_id: str, *, wait_s: int = 0) -> dict[str, Any]:
    path = f"/batches/{batch_id}?limit=0&wait_s={wait_s}"
    return http.get(path).raise_for_status().json()


def _compare(path: Path, rows: int, succeeded: int) -> None:
    """Every row is there with its own cells; as many have an answer as the service counted."""
    found = pq.ParquetFile(path)
    assert found.schema_arrow.names[:3] == ["id", "text", "stars"]
    columns = ["id", "text", "stars", "prompt", "index", "response", "success"]
    answered = index = 0
    for one in _rows(found, columns):
        (expected,) = rows_of(index, 1)
        assert {name: one[name] for name in expected} == expected
        assert (one["index"], one["prompt"]) == (index, f"Say: {expected['text']}")
        assert (one["response"] is not None) == one["success"]
        answered += one["success"]
        index += 1
    assert (index, answered) == (rows, succeeded)


def _rows(file: pq.ParquetFile, columns: list[str]) -> Iterator[dict[str, Any]]:
    for some in file.iter_batches(10_000, columns=columns):
        yield from some.to_pylist()
