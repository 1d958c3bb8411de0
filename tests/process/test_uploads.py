"""Uploads of many lines, with real processes: cut off, killed, and measured."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
import sqlalchemy as sa

from promptmill.store.db.database import Database
from promptmill.store.db.tables.batches import job, prompt

pytestmark = pytest.mark.proof

HEADERS = {"content-type": "application/x-ndjson"}
LINES = 200_000
MIB = 1024 * 1024


def lines(number: int) -> Iterator[bytes]:
    for first in range(0, number, 1_000):
        block = range(first, min(first + 1_000, number))
        yield "".join(
            json.dumps({"id": f"q{n}", "prompt": f"{n}: {'x' * 250}"}) + "\n" for n in block
        ).encode()


class HalfSent:
    """A connection over which a part of an upload has gone, and no more will."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self.socket = socket.create_connection((address.hostname, address.port))
        self.socket.sendall(
            b"POST /batches?rate_limit_delay=0&model=tiny HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/x-ndjson\r\nContent-Length: 1000000000\r\n\r\n"
        )
        for block in lines(20_000):
            self.socket.sendall(block)


def stored(url: str) -> tuple[list[str], int]:
    """The states of all batches, hidden ones too, and the number of prompts."""
    database = Database(url)

    def look(tx: Any) -> tuple[list[str], int]:
        states = tx.execute(
            sa.select(job.c.state).where(job.c.deleted_at_ms.is_(None))
        ).scalars().all()  # fmt: skip
        return list(states), tx.execute(
            sa.select(sa.func.count()).select_from(prompt)
        ).scalar_one()  # fmt: skip

    try:
        return database.read_now(look)
    finally:
        database.close_now()


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_upload_whose_client_leaves_is_gone(serve: Any, simulate: Any, sqlite_url: str) -> None:
    host, simulator = simulate()
    service = serve(host)
    half = HalfSent(str(service.http.base_url))
    wait_until(lambda: stored(sqlite_url)[1] >= 10_000)
    assert stored(sqlite_url)[0] == ["receiving"]
    assert service.http.get("/batches").json()["data"] == []

    half.socket.close()

    wait_until(lambda: stored(sqlite_url) == ([], 0))
    assert simulator.stats()["calls"] == 0


def test_an_upload_in_the_middle_of_which_the_process_is_killed_is_never_seen(
    serve: Any, simulate: Any, sqlite_url: str
) -> None:
    host, simulator = simulate()
    service = serve(host)
    half = HalfSent(str(service.http.base_url))
    wait_until(lambda: stored(sqlite_url)[1] >= 10_000)
    service.kill()
    half.socket.close()
    service = serve(host)

    assert service.http.get("/batches").json()["data"] == []
    service.ended(service.submit(["a", "b"]))
    assert simulator.stats()["calls"] == 2
    assert sorted(stored(sqlite_url)[0]) == ["completed", "receiving"]
    # An hour later the purger finds what was left.
    database = Database(sqlite_url)
    database.write_now(
        lambda tx: tx.execute(sa.update(job).values(received_at_ms=tx.now_ms() - 3_700_000))
    )
    database.close_now()
    assert service.stop() == 0
    service = serve(host)
    wait_until(lambda: stored(sqlite_url) == (["completed"], 2))


def test_200000_lines_take_little_memory_and_let_others_through(serve: Any, simulate: Any) -> None:
    host, _ = simulate()
    service = serve(host)
    process = psutil.Process(service.process.pid)
    other = service.submit([f"o{n}" for n in range(20_000)], max_concurrent=8)
    before = most = process.memory_info().rss
    times: list[float] = []
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        with httpx.Client(base_url=service.http.base_url, timeout=60) as client:
            while not done.is_set():
                began = time.perf_counter()
                client.get("/batches").raise_for_status()
                times.append(time.perf_counter() - began)
                most = max(most, process.memory_info().rss)
                done.wait(0.02)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        response = service.http.post(
            "/batches",
            params={"model": "tiny", "rate_limit_delay": "3600", "priority": "-100"},
            content=lines(LINES),
            headers=HEADERS,
            timeout=300,
        )
    finally:
        done.set()
        watching.join()

    assert response.status_code == 202, response.text
    assert response.json()["counts"]["total"] == LINES
    times.sort()
    print(
        f"{before / MIB:.0f} to {most / MIB:.0f} MiB, {len(times)} reads, p99 {times[-len(times) // 100 - 1]}"
    )
    assert most < 300 * MIB
    # Of 80 MB that were sent; the other batch's own work is in it too.
    assert most - before < 60 * MIB
    assert times[int(len(times) * 0.99)] < 1.0
    assert service.batch(other)["counts"]["succeeded"] > 100


def test_a_client_sees_why_its_upload_is_refused_while_it_still_sends(
    serve: Any, simulate: Any
) -> None:
    host, _ = simulate()
    service = serve(host, PROMPTMILL_MAX_QUEUED_PROMPTS="1000", PROMPTMILL_EMBEDDED_WORKER="false")

    response = service.http.post("/batches", content=lines(50_000), headers=HEADERS)

    assert response.status_code == 429
    assert service.http.get("/batches").json()["data"] == []
