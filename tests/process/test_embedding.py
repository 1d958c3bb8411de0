"""Embedding goes on over kills: no text is lost, none has another one's vector or two results."""

from __future__ import annotations

import json
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from promptmill.domain.vectors import packed
from promptmill.simulator import embedding
from tests.performance.embeddings import most_in_flight
from tests.proof.processes import PatientClient, Service, simulator

pytestmark = pytest.mark.proof

KILLS = 8
TEXTS = 3_000
SLOTS = 2
QUICK = {
    "PROMPTMILL_LEASE_S": "1",
    "PROMPTMILL_HEARTBEAT_S": "0.3",
    "PROMPTMILL_POLL_S": "0.1",
    "PROMPTMILL_OLLAMA_SLOTS": str(SLOTS),
}


class Killer(threading.Thread):
    """Kills the service and starts it again, until the batch has ended or it was often enough."""

    def __init__(self, service: Service) -> None:
        super().__init__(name="killer")
        self._service = service
        self._random = random.Random(5)
        self.is_over = threading.Event()
        self.kills = 0

    def run(self) -> None:
        while self.kills < KILLS and not self.is_over.wait(self._random.uniform(0.2, 1.5)):
            self._service.kill()
            self.kills += 1
            self._service.start_again()
            self._service.until_up()


def test_each_text_has_one_result_and_its_own_vector_whenever_the_service_is_killed(
    database_url: str, tmp_path: Path
) -> None:
    log = tmp_path / "calls.jsonl"
    with simulator(tmp_path, latency_s=0.1, text_s=0.002, slots=16, log=log) as url:
        service = Service(folder=tmp_path, DATABASE_URL=database_url, OLLAMA_HOST=url, **QUICK)
        killer = Killer(service)
        try:
            service.until_up()
            with PatientClient(service.url) as client:
                batch_id = client.submit(
                    [f"text number {n}" for n in range(TEXTS)],
                    kind="embed",
                    max_concurrent=32,
                    rate_limit_delay=0,
                )
                killer.start()
                deadline = time.monotonic() + 500
                while not (batch := client.batch(batch_id))["finished_at"]:
                    assert time.monotonic() < deadline, batch["counts"]
                    time.sleep(0.3)
                killer.is_over.set()
                killer.join()
                service.until_up()
                text = client.ask(
                    "GET", f"/batches/{batch_id}/results", params={"format": "ndjson"}
                ).text
        finally:
            killer.is_over.set()
            service.kill()
    assert killer.kills >= 1
    results: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    assert batch["counts"]["succeeded"] == TEXTS
    assert [result["index"] for result in results] == list(range(TEXTS))
    for result in results:
        wanted = packed(embedding("tiny", result["prompt"], 256))
        assert packed(result["embedding"]) == wanted, result["prompt"]
    assert most_in_flight(log) <= SLOTS
