"""The service is killed at any moment of uploads, readings, batches and the writing of files."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.api.openai.conftest import CHAT, jsonl, line
from tests.proof.processes import PatientClient, Service

pytestmark = pytest.mark.proof

KILLS = 10
"""On each of the two databases, so at twenty moments in all."""
LINES = 300
"""Every tenth cannot be honoured; they make a file of some chunks."""
QUICK = {
    "PROMPTMILL_LEASE_S": "1",
    "PROMPTMILL_HEARTBEAT_S": "0.3",
    "PROMPTMILL_POLL_S": "0.1",
    "PROMPTMILL_GROUPING": "false",
}
ENDS = {"completed", "failed", "expired", "cancelled"}


class Killer(threading.Thread):
    """Kills the service and starts it again, as often as was said."""

    def __init__(self, service: Service) -> None:
        super().__init__(name="killer")
        self._service = service
        self._random = random.Random(17)

    def run(self) -> None:
        for _ in range(KILLS):
            self._service.until_up()
            time.sleep(self._random.uniform(0.05, 2.5))
            self._service.kill()
            self._service.start_again()


def one_batch(client: PatientClient, name: str) -> tuple[dict[str, Any], str]:
    """A batch at its end, and the id of its input file."""
    content = jsonl(
        *(
            line(f"{name}-{n}", "x" * 8_000, **({"n": 2} if n % 10 == 0 else {"max_tokens": 2}))
            for n in range(LINES)
        )
    )
    uploaded = client.ask(
        "POST",
        "/v1/files",
        files={"file": ("in.jsonl", content)},
        data={"purpose": "batch"},
        headers={"Idempotency-Key": os.urandom(8).hex()},
    )
    assert uploaded.status_code == 200, uploaded.text
    made = client.ask(
        "POST",
        "/v1/batches",
        json={
            "input_file_id": uploaded.json()["id"],
            "endpoint": CHAT,
            "completion_window": "24h",
            "promptmill": {"max_concurrent": 32},
        },
        headers={"Idempotency-Key": os.urandom(8).hex()},
    )
    assert made.status_code == 200, made.text
    batch = made.json()
    while batch["status"] not in ENDS:
        assert (batch["output_file_id"], batch["error_file_id"]) == (None, None)
        time.sleep(0.1)
        batch = client.ask("GET", f"/v1/batches/{batch['id']}").json()
    return batch, uploaded.json()["id"]


def ids_in(client: PatientClient, file_id: str) -> list[str]:
    document = client.ask("GET", f"/v1/files/{file_id}").json()
    content = client.ask("GET", f"/v1/files/{file_id}/content").content
    assert len(content) == document["bytes"]
    return [json.loads(one)["custom_id"] for one in content.splitlines()]


def test_output_and_error_lines_add_up_to_the_input_whenever_it_is_killed(
    database_url: str, ollama_url: str, tmp_path: Path
) -> None:
    service = Service(folder=tmp_path, DATABASE_URL=database_url, OLLAMA_HOST=ollama_url, **QUICK)
    killer = Killer(service)
    batches: list[dict[str, Any]] = []
    try:
        with PatientClient(service.url) as client:
            killer.start()
            while killer.is_alive() or not batches:
                batch, _ = one_batch(client, f"batch{len(batches)}")
                batches.append(batch)
            for number, batch in enumerate(batches):
                output = ids_in(client, batch["output_file_id"])
                errors = ids_in(client, batch["error_file_id"])
                names = [f"batch{number}-{n}" for n in range(LINES)]
                assert batch["status"] == "completed"
                assert errors == names[::10]
                assert output == [name for name in names if name not in set(errors)]
            listed = client.ask("GET", "/v1/batches", params={"limit": 100}).json()["data"]
            assert [one["id"] for one in listed] == [one["id"] for one in batches][::-1]
            files = client.ask("GET", "/v1/files").json()["data"]
            assert len(files) == 3 * len(batches)
    finally:
        killer.join()
        service.kill()
