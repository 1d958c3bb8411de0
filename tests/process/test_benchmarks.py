"""A benchmark survives SIGKILL: finished runs are kept, an interrupted one is measured anew."""

from __future__ import annotations

import time
from typing import Any

import pytest

pytestmark = pytest.mark.proof

RUNS = 12
LEVEL = 2
KILLS = 3


def read(service: Any, path: str, **query: Any) -> dict[str, Any]:
    response = service.http.get(path, params=query)
    assert response.status_code == 200, response.text
    return response.json()


def wait_until_taken_up(service: Any, path: str) -> None:
    deadline = time.monotonic() + 30
    while read(service, path)["status"] == "queued":
        assert time.monotonic() < deadline, "no worker takes it up"


def runs_of(service: Any, path: str) -> list[dict[str, Any]]:
    return read(service, f"{path}/runs", limit=1000)["data"]


def wait_for_runs(service: Any, path: str, more_than: int) -> None:
    deadline = time.monotonic() + 30
    while len(runs_of(service, path)) <= more_than:
        assert time.monotonic() < deadline, "nothing is measured"


def test_killed_again_and_again_it_measures_every_run_once_and_patches_nothing(
    serve: Any, simulate: Any
) -> None:
    host, simulator = simulate(slots=4, request_s=0.15)
    service = serve(host)
    waiting = service.submit(["What waits."])
    service.ended(waiting)
    body = {
        "models": ["tiny", "missing"],
        "num_runs": RUNS,
        "concurrency": [LEVEL],
        "warmup_runs": 1,
        "options": {"num_predict": 16},
    }
    path = service.http.post("/benchmarks", json=body).headers["location"]
    # From the taking-up on, not from the answer to the POST, the host is the benchmark's alone.
    wait_until_taken_up(service, path)
    batch = service.submit(["After the benchmark."])
    kept: list[dict[str, Any]] = []
    for _ in range(KILLS):
        wait_for_runs(service, path, more_than=len(kept) + 1)
        kept = runs_of(service, path)
        service.kill()
        service = serve(host)
        assert runs_of(service, path)[: len(kept)] == kept, "finished runs are kept as they were"
    found = read(service, path, wait_s=60)

    assert found["status"] == "completed"
    assert found["sessions"] == KILLS + 1
    counts = found["counts"]
    assert (counts["succeeded"], counts["failed"]) == (1 + RUNS * LEVEL, 1)
    assert (counts["skipped"], counts["pending"]) == (RUNS * LEVEL, 0)
    runs = runs_of(service, path)
    assert runs[: len(kept)] == kept
    measured = [run for run in runs if run["phase"] == "measured"]
    assert sorted(run["run_index"] for run in measured) == list(range(RUNS * LEVEL))
    assert all(run["status"] == "succeeded" for run in measured)
    assert {run["session"] for run in measured} <= set(range(1, KILLS + 2))
    warm = [run["session"] for run in runs if run["phase"] == "warmup" and run["model"] == "tiny"]
    assert warm == sorted(set(warm)), "each session warms up anew"
    level = found["results"]["tiny"]["levels"][0]
    assert level["n_attempted"] == RUNS * LEVEL
    # 12 pairs of 0.15 s; three kills, starts and warm-ups between them would be many seconds.
    assert level["window_s"] == pytest.approx(RUNS * 0.15, rel=0.5)
    assert found["results"]["missing"]["error_code"] == "model_not_found"
    calls = [call for call in simulator.calls if call.prompt and "Hello" in call.prompt]
    assert len(calls) > len(runs), "interrupted runs were made again"
    assert len({call.prompt for call in calls}) == len(calls), "and none with a cached prompt"
    ended = service.ended(batch)
    assert ended["counts"]["succeeded"] == 1
    (late,) = [call for call in simulator.calls if call.prompt == "After the benchmark."]
    assert all(call.ended is None or call.ended <= late.arrived for call in calls)
