"""What the service promises, with real processes, signals and a simulated Ollama."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from promptmill.simulator import answer_text

pytestmark = pytest.mark.proof

GSM8K = Path(__file__).parents[1] / "data" / "gsm8k_test.jsonl"


def questions() -> list[str]:
    return [json.loads(line)["question"] for line in GSM8K.read_text().splitlines()]


def test_every_gsm8k_question_gets_its_own_answer_and_the_counts_add_up_at_every_look(
    serve: Any, simulate: Any
) -> None:
    host, simulator = simulate(slots=64, request_s=0.02)
    service = serve(host)
    prompts = questions()
    assert len(prompts) == 1319
    batch_id = service.submit(prompts, max_concurrent=64)
    looks = 0
    while True:
        batch = service.batch(batch_id)
        counts = batch["counts"]
        looks += 1
        assert sum(counts.values()) - counts["total"] == counts["total"] == 1319
        if batch["finished_at"]:
            break
    assert looks > 5
    assert (batch["status"], counts["succeeded"]) == ("completed", 1319)
    results = service.results(batch_id)
    assert [one["index"] for one in results] == list(range(1319))
    assert [one["prompt"] for one in results] == prompts
    assert [one["response"] for one in results] == [answer_text("tiny", text) for text in prompts]
    assert simulator.stats()["peak_in_flight"] <= 64


def test_two_batches_against_a_host_with_fewer_slots_keep_every_limit(
    serve: Any, simulate: Any
) -> None:
    host, simulator = simulate(slots=64, request_s=0.05)
    service = serve(host, PROMPTMILL_OLLAMA_SLOTS="6")
    first = service.submit([f"a{n}" for n in range(60)], max_concurrent=5)
    second = service.submit([f"b{n}" for n in range(60)], max_concurrent=4)
    service.ended(first)
    service.ended(second)
    assert peak(simulator, "a") <= 5
    assert peak(simulator, "b") <= 4
    assert peak(simulator, "") == simulator.stats()["peak_in_flight"] == 6


def test_max_concurrent_is_reached_and_never_passed(serve: Any, simulate: Any) -> None:
    host, simulator = simulate(slots=64, request_s=0.05)
    service = serve(host)
    service.ended(service.submit([f"a{n}" for n in range(70)], max_concurrent=7))
    assert simulator.stats()["peak_in_flight"] == 7


def test_starts_at_the_host_keep_the_distance_of_their_batch(serve: Any, simulate: Any) -> None:
    host, simulator = simulate(slots=64, request_s=0.1)
    service = serve(host)
    slow = service.submit([f"a{n}" for n in range(15)], rate_limit_delay=0.1)
    fast = service.submit([f"b{n}" for n in range(30)], rate_limit_delay=0.05)
    for batch_id, prefix, delay_s in ((slow, "a", 0.1), (fast, "b", 0.05)):
        service.ended(batch_id)
        # At the service, but for the milliseconds that times are told in.
        assert min(distances(started(service, batch_id))) >= delay_s - 0.005
        # At the host: a request's way there takes a varying time, which can bring two nearer to
        # each other; over many it evens out.
        arrived = sorted(call.arrived for call in calls(simulator, prefix))
        assert min(distances(arrived)) >= delay_s - 0.02
        assert arrived[-1] - arrived[0] >= (len(arrived) - 1) * delay_s - 0.02


def test_kill_9_in_the_middle_loses_nothing_and_records_nothing_twice(
    serve: Any, simulate: Any
) -> None:
    host, simulator = simulate(slots=64, request_s=0.02)
    prompts = questions()[:600]
    service = serve(host)
    batch_id = service.submit(prompts, max_concurrent=16)
    for share in (0.2, 0.5, 0.8):
        while service.batch(batch_id)["counts"]["succeeded"] < share * len(prompts):
            pass
        service.kill()
        service = serve(host)
    batch = service.ended(batch_id)
    assert batch["counts"]["succeeded"] == batch["counts"]["total"] == len(prompts)
    results = service.results(batch_id)
    assert [one["index"] for one in results] == list(range(len(prompts)))
    assert [one["response"] for one in results] == [answer_text("tiny", text) for text in prompts]
    # What was under way when the process died is done again, and no more than that.
    assert len(prompts) < simulator.stats()["calls"] <= len(prompts) + 3 * 16
    assert {one["attempts"] for one in results} == {1}


def test_sigterm_lets_running_prompts_end_and_the_next_start_goes_on(
    serve: Any, simulate: Any
) -> None:
    host, simulator = simulate(slots=64, request_s=0.3)
    service = serve(host)
    batch_id = service.submit([f"a{n}" for n in range(40)], max_concurrent=8)
    while service.batch(batch_id)["counts"]["running"] < 8:
        pass
    assert service.stop() == 0
    service = serve(host)
    assert service.ended(batch_id)["counts"]["succeeded"] == 40
    # Nothing was aborted, so nothing had to be done twice.
    assert simulator.stats()["calls"] == 40


def test_an_accepted_batch_waits_for_an_ollama_that_is_not_there_yet(
    serve: Any, simulate: Any, unused_port: int
) -> None:
    service = serve(f"127.0.0.1:{unused_port}")
    batch_id = service.submit(["a", "b"])
    assert service.http.get("/ready").status_code == 503
    assert service.batch(batch_id)["counts"]["succeeded"] == 0
    service.kill()
    host, _ = simulate()
    service = serve(host)
    assert service.ended(batch_id)["counts"]["succeeded"] == 2


def test_a_wrong_setting_names_itself_and_stops_the_start(serve: Any) -> None:
    import subprocess
    import sys

    command = [sys.executable, "-m", "promptmill", "serve"]
    for variable, value in (
        ("PROMPTMILL_LEASE_S", "soon"),
        ("PROMPTMILL_OLLAMA_SLOTS", "0"),
        ("OLLAMA_HOST", "ftp://x"),
        ("DATABASE_URL", "mysql://localhost/x"),
    ):
        ended = subprocess.run(
            command,
            check=False,
            env={variable: value},
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert ended.returncode == 2, variable
        assert variable in ended.stderr
        assert "Traceback" not in ended.stderr


def calls(simulator: Any, prefix: str) -> list[Any]:
    return [call for call in simulator.calls if call.prompt and call.prompt.startswith(prefix)]


def started(service: Any, batch_id: str) -> list[float]:
    """When the service started each prompt, in seconds."""
    moments = (datetime.fromisoformat(one["started_at"]) for one in service.results(batch_id))
    return sorted(moment.timestamp() for moment in moments)


def distances(moments: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(moments)]


def peak(simulator: Any, prefix: str) -> int:
    """Most calls in flight at one moment, of prompts that begin so."""
    changes = sorted(
        change
        for call in calls(simulator, prefix)
        for change in ((call.arrived, 1), (call.ended, -1))
    )
    most = now = 0
    for _, step in changes:
        now += step
        most = max(most, now)
    return most
