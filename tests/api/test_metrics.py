"""`GET /metrics`: read by Prometheus' own parser, and equal to the database."""

from __future__ import annotations

import json

import httpx
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as open_metrics,
)
from prometheus_client.parser import text_string_to_metric_families

from tests.api.conftest import answer_as_ollama

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def scraped(service) -> Samples:
    service.resources.last_stats.fresh_until = 0.0
    response = await service.client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def total(samples: Samples, name: str, **labels: str) -> float:
    return sum(
        value
        for (of, found), value in samples.items()
        if of == f"promptmill_{name}" and labels.items() <= dict(found).items()
    )


async def test_counters_equal_what_the_batch_tells(service) -> None:
    before = await scraped(service)
    batch = await service.finished(
        {
            "model": "qwen3:8b",
            "prompts": ["a", "b", {"prompt": "c", "model": "missing"}],
            "rate_limit_delay": 0,
        }
    )
    after = await scraped(service)

    def grown(name: str, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    counts = batch["counts"]
    assert (counts["succeeded"], counts["failed"]) == (2, 1)
    assert grown("prompts_finished_total", status="succeeded") == counts["succeeded"]
    assert grown("prompts_finished_total", status="failed", model="missing") == counts["failed"]
    assert grown("prompt_failures_total", error_code="model_not_found") == 1
    assert grown("attempts_total", result="succeeded") == 2
    assert grown("tokens_total", kind="prompt") == batch["usage"]["prompt_tokens"]
    assert grown("tokens_total", kind="completion") == batch["usage"]["completion_tokens"]
    assert grown("prompt_duration_seconds_count", model="qwen3:8b") == 2
    assert grown("flush_results_sum") == 3
    assert grown("prompt_wait_seconds_count") == 3
    assert grown("claim_duration_seconds_count") >= 1
    assert grown("model_switches_total", host="http://127.0.0.1:11434") >= 1


async def test_loads_and_loaded_models_are_told_with_their_memory(open_service) -> None:
    def answer_after_a_load(request: httpx.Request) -> httpx.Response:
        answer = answer_as_ollama(request)
        if request.url.path != "/api/generate":
            return answer
        told = answer.json()
        waited = {"slow": 2_500_000_000, "warm": 5_000_000}[json.loads(request.content)["prompt"]]
        return httpx.Response(200, content=json.dumps(told | {"load_duration": waited}) + "\n")

    service = await open_service(answer_after_a_load)
    before = await scraped(service)
    await service.finished({"model": "qwen3:8b", "prompts": ["slow", "warm"]})
    await service.resources.host.look()
    after = await scraped(service)

    labels = {"model": "qwen3:8b", "host": "http://127.0.0.1:11434"}
    loads = [total(each, "model_load_seconds_count", **labels) for each in (before, after)]
    seconds = [total(each, "model_load_seconds_sum", **labels) for each in (before, after)]
    assert loads[1] - loads[0] == 1
    assert seconds[1] - seconds[0] == pytest.approx(2.5)
    assert total(after, "host_model_bytes", **labels) == 5_225_388_164
    assert total(after, "host_model_vram_bytes", **labels) == 0


async def test_gauges_tell_how_the_queue_stands(service) -> None:
    await service.post({"model": "qwen3:8b", "prompts": ["a", "b"]})
    samples = await scraped(service)

    assert total(samples, "batches", status="queued") == 1
    assert total(samples, "batches", status="running") == 0
    assert total(samples, "prompts", state="pending") == 2
    assert total(samples, "pending_prompts", model="qwen3:8b") == 2
    assert total(samples, "workers") == 0
    assert total(samples, "host_up", host="http://127.0.0.1:11434") == 1
    assert total(samples, "queue_limit_prompts") == 10_000_000
    assert total(samples, "database_bytes") > 0
    assert ("promptmill_database_free_bytes", ()) in samples
    assert total(samples, "build_info", database="sqlite") == 1


async def test_requests_are_counted_by_their_route_and_what_is_none_together(service) -> None:
    before = await scraped(service)
    for path in ("/batches/batch_0", "/batches/batch_1", "/nowhere", "/elsewhere"):
        await service.client.get(path)
    await service.client.get("/batches", headers={"Origin": "http://evil.example"})
    await service.client.request("BREW", "/batches")
    after = await scraped(service)

    def grown(name: str, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    assert grown("http_requests_total", route="/batches/{batch_id}", status="404") == 2
    assert grown("http_requests_total", route="other", status="404") == 2
    assert grown("http_requests_total", method="other", status="405") == 1
    assert grown("http_refused_total", reason="origin") == 1
    assert not [labels for _, labels in after if "batch_0" in str(labels)]


async def test_openmetrics_comes_when_it_is_asked_for(service) -> None:
    response = await service.client.get(
        "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
    )

    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert list(open_metrics(response.text))
