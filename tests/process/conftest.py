"""The real service as a process, and a simulated Ollama that remembers what it was asked."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from promptmill.simulator import (
    ModelSpec,
    Simulator,
    SimulatorSettings,
    Speed,
    create_simulator,
    running_in_thread,
)


class Service:
    """A running `promptmill serve`."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.http = httpx.Client(base_url=url, timeout=60)

    def submit(self, prompts: list[Any], **fields: Any) -> str:
        body = {"model": "tiny", "prompts": prompts, "rate_limit_delay": 0, **fields}
        response = self.http.post("/batches", json=body)
        assert response.status_code == 202, response.text
        return response.json()["id"]

    def batch(self, batch_id: str, **query: Any) -> dict[str, Any]:
        return self.http.get(f"/batches/{batch_id}", params={"limit": 0, **query}).json()

    def ended(self, batch_id: str) -> dict[str, Any]:
        batch = self.batch(batch_id, wait_s=50)
        assert batch["finished_at"], batch
        return batch

    def results(self, batch_id: str) -> list[dict[str, Any]]:
        import json

        text = self.http.get(f"/batches/{batch_id}/results?format=ndjson").text
        return [json.loads(line) for line in text.splitlines()]

    def kill(self) -> None:
        """SIGKILL: no farewell of any kind."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@pytest.fixture
def simulate() -> Iterator[Callable[..., tuple[str, Simulator]]]:
    """`simulate(slots=64, request_s=0.2)` starts a simulated Ollama: its URL and its memory."""
    with ExitStack() as stack:

        def start(*, slots: int = 64, request_s: float = 0.0) -> tuple[str, Simulator]:
            model = ModelSpec(name="tiny", speed=Speed(request_s=request_s))
            simulator = create_simulator(SimulatorSettings(models=(model,), num_parallel=slots))
            return stack.enter_context(running_in_thread(simulator)), simulator

        yield start


@pytest.fixture
def serve(sqlite_url: str, simulate: object) -> Iterator[Callable[..., Service]]:
    """`serve(ollama_host)` starts the service; again after a kill, on the same database.

    It asks for `simulate` so that the service ends before the host that it calls.
    """
    started: list[Service] = []

    def start(ollama_host: str, *, stderr: Any = None, **variables: str) -> Service:
        environment = {
            **os.environ,
            "DATABASE_URL": sqlite_url,
            "OLLAMA_HOST": ollama_host,
            "PROMPTMILL_LOG_LEVEL": "warning",
            **variables,
        }
        command = [sys.executable, "-m", "promptmill", "serve", "--port", "0"]
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True, bufsize=1
        )
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        # The socket listens already; the first answer comes when the start is through.
        service = Service(process, url)
        service.http.get("/health").raise_for_status()
        started.append(service)
        return service

    yield start
    for service in started:
        service.http.close()
        with contextlib.suppress(ProcessLookupError):
            service.process.kill()
        service.process.wait(10)
        assert service.process.stdout is not None
        service.process.stdout.close()
        if service.process.stderr is not None:
            service.process.stderr.close()
