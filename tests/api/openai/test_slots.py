"""Online calls and batches share the slots of a host, in one process and over several."""

from __future__ import annotations

import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.proof.processes import Command, PatientClient, Service, simulator

pytestmark = pytest.mark.proof

SLOTS = 4
PROMPT_S = 5.0
PROMPTS = 12
LATEST_S = 0.2
"""Most seconds from the end of a call to the start of the online call that waits for its slot."""


def calls_in(log: Path) -> list[dict[str, Any]]:
    """The calls for answers, in the order of their arrival; times by the clock of this machine."""
    calls: dict[int, dict[str, Any]] = {}
    for line in log.read_text().splitlines():
        call = json.loads(line)
        calls[call["id"]] = call
    found = [call for call in calls.values() if call["path"] in {"/api/generate", "/api/chat"}]
    return sorted(found, key=lambda call: call["arrived"])


def since_a_slot_was_free(call: dict[str, Any], calls: list[dict[str, Any]]) -> float:
    """Seconds from the last end of a call before this one to its start."""
    return call["arrived"] - max(one["ended"] for one in calls if one["ended"] <= call["arrived"])


def until_running(log: Path, number: int) -> None:
    deadline = time.monotonic() + 120
    while len(calls_in(log)) < number:
        assert time.monotonic() < deadline, "the batch does not start"
        time.sleep(0.1)


def submit(client: PatientClient, prompts: int) -> str:
    """A batch that keeps every slot busy."""
    return client.submit(
        [f"prompt {n}" for n in range(prompts)],
        max_concurrent=32,
        rate_limit_delay=0,
        options={"num_predict": 1},
    )


def until_ended(client: PatientClient, batch_id: str) -> dict[str, Any]:
    while not (batch := client.batch(batch_id))["finished_at"]:
        time.sleep(0.2)
    return batch


def chat(service: Service) -> httpx.Response:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "online"}], "max_tokens": 1}
    return httpx.post(f"{service.url}/v1/chat/completions", json=body, timeout=120)


def test_a_call_gets_the_slot_that_becomes_free_and_the_batch_loses_no_more_than_that(
    sqlite_url: str, tmp_path: Path
) -> None:
    log = tmp_path / "calls.jsonl"
    log.touch()
    asked_at: list[float] = []
    prompts = 20  # some are left when the last call is made
    with simulator(tmp_path, latency_s=PROMPT_S, slots=64, log=log) as url:
        service = Service(
            folder=tmp_path,
            DATABASE_URL=sqlite_url,
            OLLAMA_HOST=url,
            PROMPTMILL_OLLAMA_SLOTS=str(SLOTS),
        )
        try:
            service.until_up()
            with PatientClient(service.url) as client:
                batch_id = submit(client, prompts)
                until_running(log, SLOTS)
                for _ in range(3):
                    time.sleep(0.3 * PROMPT_S)
                    asked_at.append(time.monotonic())
                    assert chat(service).status_code == 200
                assert until_ended(client, batch_id)["counts"]["succeeded"] == prompts
        finally:
            service.stop()
    calls = calls_in(log)
    online = [call for call in calls if call["path"] == "/api/chat"]
    assert len(calls) == prompts + len(online) == prompts + len(asked_at)
    late_s = [since_a_slot_was_free(call, calls) for call in online]
    usual_s = [since_a_slot_was_free(call, calls) for call in calls[SLOTS:] if call not in online]
    for call, asked in zip(online, asked_at, strict=True):
        # It waited for calls that ran already, and for none that was begun while it waited.
        assert all(call["arrived"] < one["ended"] for one in calls if one["arrived"] > asked)
    # On a busy machine everything takes longer, the starts of the batch as well.
    assert statistics.median(late_s) < max(LATEST_S, 3 * statistics.median(usual_s))
    took_s = max(one["ended"] for one in calls if one not in online) - calls[0]["arrived"]
    busy_s = sum(one["ended"] - one["arrived"] for one in calls)
    # The last round may leave slots empty; nothing else does for longer than a start takes.
    assert took_s < (busy_s + sum(late_s) + sum(usual_s)) / SLOTS + PROMPT_S


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
        try:
            with PatientClient(services[0].url) as client, ThreadPoolExecutor() as asking:
                batch_id = submit(client, PROMPTS)
                until_running(log, SLOTS)
                asked_at = time.monotonic()
                answers = list(asking.map(chat, services))
                batch = until_ended(client, batch_id)
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
