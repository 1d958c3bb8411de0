"""Online calls and batches share the slots of a host, over several processes on PostgreSQL."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.proof.processes import Command, PatientClient, Service, simulator

pytestmark = pytest.mark.proof

SLOTS = 4
PROMPT_S = 5.0
PROMPTS = 12


def calls_in(log: Path) -> list[dict[str, Any]]:
    """The calls for answers, in the order of their arrival; times by the clock of this machine."""
    calls: dict[int, dict[str, Any]] = {}
    for line in log.read_text().splitlines():
        call = json.loads(line)
        calls[call["id"]] = call
    found = [call for call in calls.values() if call["path"] in {"/api/generate", "/api/chat"}]
    return sorted(found, key=lambda call: call["arrived"])


def until_running(log: Path, number: int) -> None:
    deadline = time.monotonic() + 120
    while len(calls_in(log)) < number:
        assert time.monotonic() < deadline, "the batch does not start"
        time.sleep(0.1)


def test_two_calls_at_two_processes_get_the_next_slots_and_none_is_taken_twice(
    postgresql_url: str, tmp_path: Path
) -> None:
    log = tmp_path / "calls.jsonl"
    log.touch()
    with simulator(tmp_path, latency_s=PROMPT_S, slots=64, log=log) as url:
        common = {
            "DATABASE_URL": postgresql_url,
            "OLLAMA_HOST": url,
            "PROMPTMILL_OLLAMA_SLOTS": str(SLOTS),
        }
        services = [
            Service(folder=tmp_path, worker=False, name=f"serve-{n}", **common) for n in range(2)
        ]
        for service in services:
            service.until_up()
        workers = [Command(f"worker-{n}", ["worker"], folder=tmp_path, **common) for n in range(2)]
        answers: list[httpx.Response] = []

        def chat(service: Service) -> None:
            body = {
                "model": "tiny",
                "messages": [{"role": "user", "content": "online"}],
                "max_tokens": 1,
            }
            answers.append(httpx.post(f"{service.url}/v1/chat/completions", json=body, timeout=120))

        try:
            with PatientClient(services[0].url) as client:
                batch_id = client.submit(
                    [f"prompt {n}" for n in range(PROMPTS)],
                    max_concurrent=32,
                    rate_limit_delay=0,
                    options={"num_predict": 1},
                )
                until_running(log, SLOTS)
                asked_at = time.monotonic()
                asking = [threading.Thread(target=chat, args=(one,)) for one in services]
                for thread in asking:
                    thread.start()
                for thread in asking:
                    thread.join()
                while not (batch := client.batch(batch_id))["finished_at"]:
                    time.sleep(0.2)
        finally:
            for process in (*workers, *services):
                process.stop()
    assert [answer.status_code for answer in answers] == [200, 200]
    assert batch["counts"]["succeeded"] == PROMPTS
    calls = calls_in(log)
    online = [call for call in calls if call["path"] == "/api/chat"]
    assert len(calls) == PROMPTS + len(online) == PROMPTS + 2
    begun_after = [call for call in calls if call["arrived"] > asked_at]
    second_ends = sorted(call["ended"] for call in begun_after)
    # They waited for calls that ran already, and for none that was begun while they waited.
    assert all(call["arrived"] < second_ends[0] for call in online)
    # Two slots were kept for them, so the batch had the others.
    before = [call for call in begun_after if call["arrived"] < online[-1]["arrived"]]
    assert len([call for call in before if call["path"] == "/api/generate"]) <= SLOTS - 2
    for call in calls:
        at = call["arrived"]
        running = [one for one in calls if one["arrived"] <= at < one["ended"]]
        assert len(running) <= SLOTS
