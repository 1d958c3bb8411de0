"""What ends a real service, and what does not: its log, a role of its worker, a second signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.proof

TALKATIVE = {"PROMPTMILL_LOG_LEVEL": "info"}
SERVE_AND_LOSE_A_ROLE = """
import asyncio, gc, threading
from promptmill.cli import cli

def lose() -> None:
    input()
    for found in gc.get_objects():
        if isinstance(found, asyncio.Task) and found.get_name() == "heartbeat":
            found.get_loop().call_soon_threadsafe(found.cancel)

threading.Thread(target=lose, daemon=True).start()
cli(["serve", "--port", "0"])
"""


def works(service: Any) -> bool:
    counts = service.ended(service.submit([f"question {number}" for number in range(20)]))["counts"]
    return counts["succeeded"] == 20 and service.http.get("/ready").status_code == 200


def test_a_log_that_nobody_reads_any_more_stops_nothing(serve: Any, simulate: Any) -> None:
    host, _ = simulate()
    service = serve(host, stderr=subprocess.PIPE, **TALKATIVE)
    service.process.stderr.close()

    assert works(service)
    assert works(service)
    assert service.stop() == 0


def test_a_log_on_a_full_disk_stops_neither_the_start_nor_the_work(
    serve: Any, simulate: Any
) -> None:
    host, _ = simulate()
    with Path("/dev/full").open("wb", buffering=0) as full:
        service = serve(host, stderr=full, **TALKATIVE)

    assert works(service)
    assert service.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_it_at_once(
    serve: Any, simulate: Any, tmp_path: Path, number: signal.Signals
) -> None:
    host, _ = simulate(request_s=20)
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        service = serve(host, stderr=stderr, PROMPTMILL_DRAIN_S="60", **TALKATIVE)
    batch_id = service.submit(["a long one"])
    while not service.batch(batch_id)["counts"]["running"]:
        pass
    service.process.send_signal(number)
    deadline = time.monotonic() + 20
    while "Stopping." not in log.read_text():
        assert time.monotonic() < deadline

    service.process.send_signal(number)

    assert service.process.wait(5) == -number


def test_a_role_that_ends_ends_the_service_with_a_status_and_says_which(
    simulate: Any, sqlite_url: str
) -> None:
    host, _ = simulate()
    service = subprocess.Popen(
        [sys.executable, "-c", SERVE_AND_LOSE_A_ROLE],
        env={**os.environ, "DATABASE_URL": sqlite_url, "OLLAMA_HOST": host},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with service:
        try:
            assert service.stdout is not None
            url = service.stdout.readline().split()[-1]
            # The socket listens already; the first answer comes when the start is through.
            httpx.get(f"{url}/health", timeout=30).raise_for_status()
            _, said = service.communicate("now\n", timeout=30)
        finally:
            service.kill()

    assert service.returncode == 5
    assert "role_ended" in said
    assert "error: The role heartbeat of worker" in said
