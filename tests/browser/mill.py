"""A service with simulated hosts for a browser, and some work to look at."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

QUESTIONS = [
    "Why is the sky blue, and why is it red in the evening?",
    "A robe takes 2 bolts of blue fibre and half that much white fibre. How many bolts is that?",
    "Explain in one sentence what a hash table is good for.",
    "Which planet has the shortest day?",
    "Write a haiku about a mill by a river.",
    "What is the difference between a process and a thread?",
]
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")


def chromium() -> str:
    """Debian's Chromium; without it CI fails, and a developer is told."""
    found = shutil.which("chromium")
    if found is None:
        reason = "there is no `chromium` on the PATH: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


class Mill:
    """A running service as its API tells of it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=60)

    def submit(self, prompts: list[Any], **fields: Any) -> str:
        body = {"model": "tiny", "rate_limit_delay": 0, "prompts": prompts, **fields}
        answer = self.http.post("/batches", json=body)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def batch(self, batch_id: str, *, wait_s: float = 0) -> dict[str, Any]:
        return self.http.get(f"/batches/{batch_id}", params={"limit": 0, "wait_s": wait_s}).json()

    def benchmark(self, *, wait_s: float = 120, **fields: Any) -> str:
        answer = self.http.post("/benchmarks", json=fields)
        assert answer.status_code == 202, answer.text
        benchmark_id = answer.json()["id"]
        self.http.get(f"/benchmarks/{benchmark_id}", params={"wait_s": wait_s}, timeout=wait_s + 5)
        return benchmark_id


@contextmanager
def listening(*command: str, **variables: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """A command of Promptmill that listens: its address, and a function that kills the process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "promptmill", *command],
        env={**os.environ, "PROMPTMILL_LOG_LEVEL": "error", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None

    def kill() -> None:
        process.kill()
        process.wait(30)

    try:
        line = process.stdout.readline()
        yield next(word for word in line.split() if word.startswith("http")).rstrip(","), kill
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


@contextmanager
def mill(
    folder: Path, *, latency: float = 0.05, faults: float = 0.0, **variables: str
) -> Iterator[Mill]:
    """A service on a new database with two simulated hosts; `variables` are of its environment."""
    host = ("simulate", "--port", "0", "--models", "tiny,qwen3:8b,gemma3:4b", "--num-parallel", "4")
    with (
        listening(
            *host,
            "--latency",
            str(latency),
            *(("--fault", f"error rate={faults}") if faults else ()),
        ) as (first, _),
        listening(*host, "--latency", str(latency * 2)) as (second, _),
        listening(
            *("serve", "--port", "0", "--database-url", f"sqlite:///{folder / 'mill.db'}"),
            PROMPTMILL_OLLAMA_HOSTS=f"{first};slots=4,{second};slots=4",
            **variables,
        ) as (url, _),
    ):
        found = Mill(url)
        found.http.get("/health").raise_for_status()
        yield found
        found.http.close()
