"""`/benchmarks` as clients see it."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import httpx
import pytest

from promptmill.api import build_api
from promptmill.api.documents.benchmarks import RUN_FIELDS
from promptmill.api.schemas.benchmarks import MOST_LEVELS, MOST_MODELS, BenchmarkRequest
from promptmill.contract import benchmark_examples as examples
from promptmill.contract.benchmark_findings import Comparison, Run
from promptmill.contract.benchmarks import (
    Benchmark,
    BenchmarkSummary,
    Level,
    ModelResult,
)
from promptmill.worker.runner import working
from tests.api.conftest import Service, answer_as_ollama

SCHEMAS = build_api().openapi()["components"]["schemas"]
NOBODY = "bench_00000000000000000000000000"


async def post(service: Service, body: object, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {"Content-Type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return await service.client.post("/benchmarks", content=content, headers=names)


async def finished(service: Service, body: object) -> dict[str, Any]:
    path = f"/benchmarks/{(await post(service, body)).json()['id']}"
    async with working(service.resources):
        return (await service.client.get(path, params={"wait_s": 30})).json()


async def test_the_request_of_the_readme_gives_the_seeds_fields_and_more(service) -> None:
    response = await post(service, examples.REQUEST)

    assert response.status_code == 202
    accepted = response.json()
    assert response.headers["location"] == f"/benchmarks/{accepted['id']}"
    assert accepted["id"].startswith("bench_")
    assert (accepted["object"], accepted["status"]) == ("benchmark", "queued")
    assert accepted["options"] == {"num_predict": 128, "temperature": 0, "seed": 42}
    assert accepted["counts"]["total"] == 8

    async with working(service.resources):
        path = response.headers["location"]
        found = (await service.client.get(path, params={"wait_s": 30})).json()

    assert found["status"] == "completed"
    assert (found["progress"], found["eta_s"]) == (1.0, None)
    assert list(found["results"]) == ["qwen3:8b", "gemma3:4b"]
    qwen = found["results"]["qwen3:8b"]
    seed = ("model", "latency", "tokens_per_sec", "prompt", "response", "num_runs", "error")
    assert tuple(qwen)[:7] == seed
    assert (qwen["model"], qwen["prompt"], qwen["num_runs"]) == ("qwen3:8b", "Test prompt", 3)
    assert qwen["latency"] > 0
    assert qwen["response"].endswith("TEST PROMPT")
    assert (qwen["error"], qwen["n_ok"], qwen["n_failed"]) == (None, 3, 0)
    assert qwen["tokens_per_sec"] is None, "the host gave no duration: missing is null"
    environment = found["environment"]
    assert environment["ollama_version"] == "0.24.0"
    assert environment["models"]["qwen3:8b"]["quantization_level"] == "Q4_K_M"
    assert environment["workload_hash"] == qwen["levels"][0]["workload_hash"]


async def test_defaults_are_those_of_the_seed(service) -> None:
    accepted = (await post(service, {"models": ["qwen3:8b"]})).json()

    assert (accepted["prompt"], accepted["num_runs"]) == ("Hello, how are you?", 3)
    assert (accepted["warmup_runs"], accepted["concurrency"]) == (1, [1])
    assert (accepted["prefix_cache"], accepted["order"]) == ("avoid", "sequential")
    assert accepted["results"] == {}


async def test_given_options_stand_beside_those_that_are_fixed(service) -> None:
    options = {"num_ctx": 2048, "temperature": 0.5}
    accepted = (await post(service, {"models": ["m"], "options": options})).json()

    assert accepted["options"] == {
        "num_predict": 128,
        "temperature": 0.5,
        "seed": 42,
        "num_ctx": 2048,
    }


async def test_a_missing_model_has_its_error_and_nulls_and_the_other_its_figures(service) -> None:
    found = await finished(service, {"models": ["missing", "qwen3:8b"]})

    missing = found["results"]["missing"]
    assert missing["error_code"] == "model_not_found"
    assert "missing" in missing["error"]
    assert (missing["latency"], missing["response"], missing["levels"]) == (None, None, [])
    assert found["results"]["qwen3:8b"]["n_ok"] == 3
    assert found["status"] == "completed"
    counts = found["counts"]
    assert counts.pop("total") == sum(counts.values())
    assert counts["skipped"] == 3


# --- bad input -----------------------------------------------------------------------------------

REFUSED: dict[str, tuple[object, list[tuple[str, str]]]] = {
    "no models": ({}, [("/models", "is required")]),
    "an empty list of models": ({"models": []}, [("/models", "must have at least 1 entry")]),
    "a text for a list": ({"models": "m"}, [("/models", "must be a list")]),
    "too many models": (
        {"models": [f"m{n}" for n in range(MOST_MODELS + 1)]},
        [("/models", "must have at most 32 entries")],
    ),
    "the same model twice": (
        {"models": ["a", "b", "a:latest"]},
        [("/models/2", "is already given in place 0")],
    ),
    "a name that is none": (
        {"models": ["a b"]},
        [
            (
                "/models/0",
                (
                    "must be a model name such as `qwen3:8b`: letters, digits and `_ . : / @ -`, no"
                    " spaces"
                ),
            )
        ],
    ),
    "0 runs": ({"models": ["m"], "num_runs": 0}, [("/num_runs", "must be at least 1")]),
    "10,001 runs": (
        {"models": ["m"], "num_runs": 10_001},
        [("/num_runs", "must be at most 10000")],
    ),
    "10,000 runs of 32 models": (
        {"models": [f"m{n}" for n in range(32)], "num_runs": 10_000},
        [
            (
                "/num_runs",
                (
                    "makes 320032 runs of all models, prompts and levels; at most 20000 are accepted"
                    " (PROMPTMILL_MAX_BENCHMARK_RUNS)"
                ),
            )
        ],
    ),
    "no requests in flight": (
        {"models": ["m"], "concurrency": [1, 0]},
        [("/concurrency/1", "must be at least 1")],
    ),
    "a number for the levels": (
        {"models": ["m"], "concurrency": 0},
        [("/concurrency", "must be a list")],
    ),
    "too many requests in flight": (
        {"models": ["m"], "concurrency": [257]},
        [("/concurrency/0", "must be at most 256")],
    ),
    "a level twice": (
        {"models": ["m"], "concurrency": [1, 2, 1]},
        [("/concurrency/2", "is already given in place 0")],
    ),
    "too many levels": (
        {"models": ["m"], "concurrency": list(range(1, MOST_LEVELS + 2))},
        [("/concurrency", "must have at most 16 entries")],
    ),
    "prompt and prompts": (
        {"models": ["m"], "prompt": "a", "prompts": ["b"]},
        [("/prompts", "cannot be given beside `prompt`; give one of the two")],
    ),
    "empty prompts": (
        {"models": ["m"], "prompts": ["a", "", " "]},
        [("/prompts/1", "must not be empty")],
    ),
    "a blank prompt": ({"models": ["m"], "prompt": " \n"}, [("/prompt", "must not be empty")]),
    "null": (
        {"models": None, "num_runs": None},
        [("/models", "is required")],
    ),
    "a typo": (
        {"models": ["m"], "num_run": 3},
        [("/num_run", "unknown field; did you mean `num_runs`?")],
    ),
    "an unknown option": (
        {"models": ["m"], "options": {"num_predct": 3}},
        [("/options/num_predct", "unknown field; did you mean `num_predict`?")],
    ),
    "wishes that are none": (
        {"models": ["m"], "slo": {}},
        [("/slo", "must have at least one of `latency_s`, `ttft_s` and `tpot_s`")],
    ),
    "a wish of no time": (
        {"models": ["m"], "slo": {"ttft_s": 0}},
        [("/slo/ttft_s", "must be more than 0")],
    ),
    "an unknown way with the cache": (
        {"models": ["m"], "prefix_cache": "off"},
        [("/prefix_cache", "must be 'avoid' or 'allow'")],
    ),
    "a baseline that there is not": (
        {"models": ["m"], "baseline_id": NOBODY},
        [
            (
                "/baseline_id",
                "there is no such benchmark; give the id of one, or leave it out",
            )
        ],
    ),
    "NUL": (
        {"models": ["m"], "label": "a\x00"},
        [("/label", "must not contain NUL characters (\\u0000); remove them")],
    ),
}


async def test_bad_input_is_refused_with_a_pointer_and_nothing_is_stored(
    service, subtests: pytest.Subtests
) -> None:
    for name, (body, faults) in REFUSED.items():
        with subtests.test(name=name):
            response = await post(service, body)

            assert response.status_code == 422
            assert response.headers["content-type"] == "application/problem+json"
            told = [(error["pointer"], error["detail"]) for error in response.json()["errors"]]
            assert told == faults
            assert (await service.client.get("/benchmarks")).json()["data"] == []


async def test_all_that_is_wrong_is_told_at_once(service) -> None:
    response = await post(service, {"models": ["m"], "num_runs": 0, "warmup_runs": -1, "x": 1})

    assert {error["pointer"] for error in response.json()["errors"]} == {
        "/num_runs",
        "/warmup_runs",
        "/x",
    }


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [(b"{", "application/json", 400), (b"{}", "text/plain", 415), (b"", "application/json", 400)],
)
async def test_what_is_no_json_is_refused_as_such(service, content, content_type, status) -> None:
    response = await post(service, content, Content_Type=content_type)

    assert response.status_code == status


async def test_a_body_beyond_its_bound_is_refused(service) -> None:
    response = await post(service, {"models": ["m"], "prompt": "a" * (1024 * 1024)})

    assert response.status_code == 413


async def test_a_baseline_of_other_work_is_refused(service) -> None:
    first = (await post(service, {"models": ["m"], "prompt": "One"})).json()["id"]

    response = await post(service, {"models": ["m"], "prompt": "Two", "baseline_id": first})

    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["pointer"] == "/baseline_id"
    assert "other work" in error["detail"]


# --- idempotency, lists, cancel, delete ------------------------------------------------------------


async def test_the_same_key_and_body_give_the_same_benchmark(service) -> None:
    one = await post(service, {"models": ["m"]}, Idempotency_Key="k")
    again = await post(service, {"models": ["m"]}, Idempotency_Key="k")
    other = await post(service, {"models": ["n"]}, Idempotency_Key="k")

    assert again.json()["id"] == one.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in one.headers
    assert other.status_code == 422


async def test_lists_are_pages_newest_first_with_filters(service) -> None:
    ids = [
        (await post(service, {"models": ["m"], "metadata": {"n": str(n)}})).json()["id"]
        for n in range(3)
    ]

    first = (await service.client.get("/benchmarks", params={"limit": 2})).json()
    rest = (await service.client.get("/benchmarks", params={"cursor": first["next_cursor"]})).json()
    found = (await service.client.get("/benchmarks", params={"metadata.n": "1"})).json()
    none = (await service.client.get("/benchmarks", params={"status": "running"})).json()

    assert [one["id"] for one in first["data"] + rest["data"]] == ids[::-1]
    assert rest["next_cursor"] is None
    assert [one["id"] for one in found["data"]] == [ids[1]]
    assert none["data"] == []
    assert "results" not in first["data"][0]


async def test_a_waiting_benchmark_is_cancelled_and_then_deleted(service) -> None:
    path = f"/benchmarks/{(await post(service, {'models': ['m']})).json()['id']}"

    refused = await service.client.delete(path)
    cancelled = await service.client.post(f"{path}/cancel")
    again = await service.client.post(f"{path}/cancel")
    deleted = await service.client.delete(path)

    assert refused.status_code == 409
    assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelled")
    assert again.status_code == 409
    assert deleted.status_code == 204
    assert (await service.client.get(path)).status_code == 404


OF_ONE_BENCHMARK = [
    ("GET", ""),
    ("DELETE", ""),
    ("POST", "/cancel"),
    ("GET", "/runs"),
    ("GET", "/runs?format=csv"),
    ("GET", "/compare"),
    ("GET", "/report"),
]


async def test_an_id_that_there_is_not_is_a_404(service, subtests: pytest.Subtests) -> None:
    for benchmark_id in [NOBODY, "bench_%00", "batch_0"]:
        for method, path in OF_ONE_BENCHMARK:
            with subtests.test(benchmark_id=benchmark_id, method=method, path=path):
                response = await service.client.request(method, f"/benchmarks/{benchmark_id}{path}")

                assert response.status_code == 404
                assert response.json()["type"] == "/problems/not-found"


# --- runs, compare, report -------------------------------------------------------------------------


@pytest.fixture
async def measured(service) -> tuple[Service, str]:
    body = {"models": ["qwen3:8b"], "num_runs": 6, "prompt": '=A1, or "not"'}
    return service, f"/benchmarks/{(await finished(service, body))['id']}"


async def test_every_run_is_there_as_pages_lines_and_rows(measured) -> None:
    service, path = measured
    first = (await service.client.get(f"{path}/runs", params={"limit": 4})).json()
    rest = (
        await service.client.get(f"{path}/runs", params={"cursor": first["next_cursor"]})
    ).json()
    runs = first["data"] + rest["data"]
    lines = await service.client.get(f"{path}/runs", headers={"Accept": "application/x-ndjson"})
    rows = await service.client.get(f"{path}/runs", params={"format": "csv"})

    assert [run["phase"] for run in runs] == ["warmup"] + ["measured"] * 6
    assert [run["run_index"] for run in runs[1:]] == list(range(6))
    assert tuple(runs[0]) == RUN_FIELDS
    assert [json.loads(line) for line in lines.text.splitlines()] == runs
    header, *table = csv.reader(io.StringIO(rows.text))
    assert tuple(header) == RUN_FIELDS
    assert len(table) == 7
    assert rows.headers["content-type"].startswith("text/csv")
    assert json.loads(table[1][header.index("flags")]) == runs[1]["flags"]
    refused = await service.client.get(f"{path}/runs", params={"format": "csv", "limit": 3})
    assert refused.status_code == 422


async def test_a_benchmark_compared_with_itself_differs_in_nothing(measured) -> None:
    service, path = measured
    benchmark_id = path.removeprefix("/benchmarks/")

    found = (await service.client.get(f"{path}/compare", params={"baseline": benchmark_id})).json()

    assert (found["baseline_id"], found["target_id"]) == (benchmark_id, benchmark_id)
    latency = next(one for one in found["comparisons"] if one["metric"] == "latency_s")
    assert latency["ratio"] == 1
    assert latency["verdict"] == "no_significant_difference"
    assert latency["method"] == "hodges_lehmann_mann_whitney"
    assert (latency["n_base"], latency["n_target"]) == (6, 6)
    assert found["differences"] == found["not_comparable"] == []


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ({}, "is required: this benchmark was posted without a `baseline_id`"),
        ({"baseline": NOBODY}, "there is no such benchmark"),
    ],
)
async def test_a_comparison_needs_a_baseline_that_there_is(measured, query, detail) -> None:
    service, path = measured

    response = await service.client.get(f"{path}/compare", params=query)

    assert response.status_code == 422
    assert response.json()["errors"] == [{"pointer": "/query/baseline", "detail": detail}]


async def test_a_baseline_of_other_work_is_no_baseline(measured) -> None:
    service, path = measured
    other = (await finished(service, {"models": ["qwen3:8b"], "prompt": "Other."}))["id"]

    response = await service.client.get(f"{path}/compare", params={"baseline": other})

    assert response.status_code == 422
    assert "other work" in response.json()["errors"][0]["detail"]


async def test_what_has_not_ended_is_not_compared(service) -> None:
    benchmark_id = (await post(service, {"models": ["m"]})).json()["id"]

    response = await service.client.get(
        f"/benchmarks/{benchmark_id}/compare", params={"baseline": benchmark_id}
    )

    assert response.status_code == 409


@pytest.mark.parametrize(
    ("form", "media_type", "opening"),
    [
        (None, "text/html", "<!doctype html>"),
        ("html", "text/html", "<!doctype html>"),
        ("md", "text/markdown", "#"),
        ("csv", "text/csv", ""),
        ("benchstat", "text/plain", ""),
    ],
)
async def test_a_report_comes_in_every_form_and_may_fetch_nothing(
    measured, form, media_type, opening
) -> None:
    service, path = measured

    response = await service.client.get(f"{path}/report", params={"format": form} if form else None)

    assert response.status_code == 200
    assert response.headers["content-type"].startswith(media_type)
    assert response.text.lower().startswith(opening)
    assert "qwen3:8b" in response.text
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_a_report_of_an_unknown_form_is_refused(measured) -> None:
    service, path = measured

    response = await service.client.get(f"{path}/report", params={"format": "pdf"})

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/query/format"


async def test_a_report_holds_the_comparison_with_the_baseline_and_does_without_a_deleted_one(
    measured,
) -> None:
    service, path = measured
    base = path.removeprefix("/benchmarks/")
    prompt = (await service.client.get(path)).json()["prompt"]
    body = {"models": ["qwen3:8b"], "num_runs": 6, "prompt": prompt, "baseline_id": base}
    target = f"/benchmarks/{(await finished(service, body))['id']}"

    beside = await service.client.get(f"{target}/report", params={"format": "md"})
    await service.client.delete(path)
    alone = await service.client.get(f"{target}/report", params={"format": "md"})

    assert "## Compared with the baseline" in beside.text
    assert alone.status_code == 200
    assert "## Compared with the baseline" not in alone.text


# --- what is documented ----------------------------------------------------------------------------


async def test_the_example_of_each_field_of_a_request_is_accepted(
    service, subtests: pytest.Subtests
) -> None:
    for field in BenchmarkRequest.model_fields:
        with subtests.test(field=field):
            baseline = (await post(service, {"models": ["a"]})).json()["id"]
            for example in SCHEMAS["BenchmarkRequest"]["properties"][field]["examples"]:
                value = baseline if field == "baseline_id" else example
                response = await post(service, {"models": ["a"], field: value})

                assert response.status_code == 202, response.text


async def test_what_is_written_has_exactly_the_fields_that_are_documented(measured) -> None:
    service, path = measured
    whole = (await service.client.get(path)).json()
    (summary,) = (await service.client.get("/benchmarks")).json()["data"]
    (result,) = whole["results"].values()
    run = (await service.client.get(f"{path}/runs")).json()["data"][0]
    comparison = (
        await service.client.get(f"{path}/compare", params={"baseline": whole["id"]})
    ).json()

    for written, model, example in (
        (whole, Benchmark, examples.BENCHMARK),
        (summary, BenchmarkSummary, examples.SUMMARY),
        (result, ModelResult, examples.RESULT),
        (result["levels"][0], Level, examples.LEVEL),
        (run, Run, examples.RUN),
        (comparison, Comparison, examples.COMPARISON),
    ):
        assert list(written) == list(model.model_fields) == list(example)
        model.model_validate(written)


async def test_reading_without_figures_is_cheap_and_waits_as_well(open_service) -> None:
    service = await open_service(answer_as_ollama)
    path = f"/benchmarks/{(await post(service, {'models': ['qwen3:8b']})).json()['id']}"

    at_once = await service.client.get(path, params={"results": "false", "wait_s": 0})
    async with working(service.resources):
        ended = await service.client.get(path, params={"results": "false", "wait_s": 30})

    assert at_once.json()["status"] == "queued"
    assert ended.json()["status"] == "completed"
    assert ended.json()["results"] == {}
