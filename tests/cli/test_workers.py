"""`promptmill workers`, against a pretended service."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import respx

from promptmill.contract.service import WorkerPage
from tests.cli.pretended import Invoke
from tests.documents import whole

WORKER: dict[str, Any] = {
    "id": "gpu-box-4711-9f86d081",
    "host_name": "gpu-box",
    "pid": 4711,
    "version": "0.1.0",
    "concurrency": 256,
    "alive": True,
    "state": "alive",
    "in_flight": 5,
    "finished": 1319,
    "fenced": 37,
    "started_at": "2026-11-23T06:00:00.000Z",
    "seen_at": "2026-11-23T06:30:00.123Z",
    "stopped_at": None,
}
LOST = {**WORKER, "id": "\x1b[2Jbox-1-ab", "alive": False, "state": "lost", "fenced": 0}


def test_workers_are_listed_with_what_they_do(invoke: Invoke, service: respx.MockRouter) -> None:
    page = whole(WorkerPage, {"data": [WORKER, LOST]})
    service.get("/workers").respond(200, json=page)

    shown = invoke("workers").stdout

    for text in ("gpu-box-4711-9f86d081", "alive", "5/256", "1319", "37", "0.1.0", "lost"):
        assert text in shown
    assert "\x1b" not in shown
    lines = invoke("workers", "--json").stdout.splitlines()
    first, lost = (json.loads(line) for line in lines)
    assert {name: WORKER[name] for name in first if not name.endswith("_at")} == {
        name: value for name, value in first.items() if not name.endswith("_at")
    }
    assert datetime.fromisoformat(first["seen_at"]) == datetime.fromisoformat(WORKER["seen_at"])
    assert lost["id"] == LOST["id"]


def test_that_nobody_works_is_said_in_words(invoke: Invoke, service: respx.MockRouter) -> None:
    service.get("/workers").respond(200, json={"data": [], "next_cursor": None})

    assert "promptmill worker" in invoke("workers").stderr
