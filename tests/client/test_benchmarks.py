"""Benchmarks through both clients, against a service that is a function."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from promptmill.client import (
    AsyncBenchmarks,
    Benchmark,
    BenchmarkComparison,
    BenchmarkPage,
    BenchmarkRun,
    Benchmarks,
    Outage,
    PromptmillProblem,
    RunPage,
    ServiceUnreachable,
    UnexpectedAnswer,
    WaitTimeout,
)
from promptmill.client.requests import benchmarks
from promptmill.contract import benchmark_examples as examples
from promptmill.contract.benchmarks import RunCounts
from tests.documents import whole

Clients = Callable[..., Any]


def benchmark(status: str = "completed", **fields: Any) -> dict[str, Any]:
    return {**examples.BENCHMARK, "id": "bench_1", "status": status, **fields}


def run(index: int) -> dict[str, Any]:
    return {**examples.RUN, "run_index": index, "response": "one\u2028two"}


class Answering:
    """A service that keeps what it was asked and always answers the same."""

    def __init__(self, status: int, answer: Any) -> None:
        self.asked: list[httpx.Request] = []
        self._status = status
        self._answer = answer

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if isinstance(self._answer, bytes):
            return httpx.Response(self._status, content=self._answer)
        return httpx.Response(self._status, json=self._answer)

    @property
    def last(self) -> tuple[str, str, Any]:
        request = self.asked[-1]
        body = json.loads(request.content) if request.content else None
        return request.method, request.url.raw_path.decode(), body


def test_both_clients_can_do_the_same_with_benchmarks() -> None:
    def methods(of: type) -> set[str]:
        return {name for name in vars(of) if not name.startswith("_")}

    assert methods(Benchmarks) == methods(AsyncBenchmarks)


def unknown_fields(record: BaseModel, place: str = "") -> list[str]:
    """The fields of a document, at any depth, that the records have no attribute for."""
    found = [f"{place}{name}" for name in record.model_extra or {}]
    for name in type(record).model_fields:
        value = getattr(record, name)
        inner = value.values() if isinstance(value, dict) else value
        for one in inner if isinstance(value, tuple | dict) else [value]:
            if isinstance(one, BaseModel):
                found += unknown_fields(one, f"{place}{name}.")
    return found


@pytest.mark.parametrize(
    ("record", "document"),
    [
        (Benchmark, examples.BENCHMARK),
        (Benchmark, examples.ACCEPTED),
        (BenchmarkPage, examples.BENCHMARK_PAGE),
        (RunPage, examples.RUN_PAGE),
        (BenchmarkComparison, examples.COMPARISON),
    ],
)
def test_every_field_of_the_contract_is_an_attribute(
    record: type[BaseModel], document: dict[str, Any]
) -> None:
    told = set(unknown_fields(record.model_validate(document)))

    # What it is an object of is plain from where it came.
    assert {name for name in told if not name.endswith(("object", "not_comparable.verdict"))} == (
        set()
    )


async def test_a_benchmark_is_ordered_with_its_models_and_fields_under_a_key(
    client_of: Clients,
) -> None:
    service = Answering(202, benchmark("queued", results={}))

    ordered = await client_of(service).benchmarks.create(
        (model for model in ("a", "b")), num_runs=5, concurrency=[1, 4], slo={"ttft_s": 0.5}
    )

    assert (ordered.id, ordered.has_ended, ordered.results) == ("bench_1", False, {})
    assert service.last == (
        "POST",
        "/benchmarks",
        {"models": ["a", "b"], "num_runs": 5, "concurrency": [1, 4], "slo": {"ttft_s": 0.5}},
    )
    assert len(service.asked[-1].headers["idempotency-key"]) == 36


async def test_an_order_whose_answer_was_lost_is_repeated_under_the_same_key(
    client_of: Clients,
) -> None:
    keys: list[str] = []

    def service(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["idempotency-key"])
        if len(keys) == 1:
            raise httpx.ReadError("cut", request=request)
        return httpx.Response(202, json=benchmark("queued"))

    await client_of(service).benchmarks.create(["a"])

    assert len(keys) == 2
    assert len(set(keys)) == 1


@pytest.mark.parametrize(
    ("models", "error", "said"),
    [("qwen3:8b", TypeError, "list of names"), ([], ValueError, "at least one model")],
)
async def test_models_that_are_none_are_refused_before_sending(
    client_of: Clients, models: Any, error: type[Exception], said: str
) -> None:
    service = Answering(202, benchmark())

    with pytest.raises(error, match=said):
        await client_of(service).benchmarks.create(models)

    assert service.asked == []


async def test_figures_are_read_with_their_names_and_what_is_not_known_is_none(
    client_of: Clients,
) -> None:
    service = Answering(200, benchmark())

    found = await client_of(service).benchmarks.get("bench_1")

    result = found.results[found.models[0]]
    level = result.levels[0]
    assert service.last[1] == "/benchmarks/bench_1"
    assert result.latency == examples.RESULT["latency"]
    assert level.latency_s.mean == examples.DISTRIBUTION["mean"]
    assert (level.latency_s.p95, level.latency_s.n) == (None, 3)
    assert level.latency_s.ci95.of == "mean"


async def test_waiting_polls_without_figures_and_reads_them_once_at_the_end(
    client_of: Clients,
) -> None:
    asked: list[str] = []

    def service(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.query.decode())
        status = "completed" if len(asked) > 1 else "running"
        return httpx.Response(200, json=benchmark(status))

    ended = await client_of(service).benchmarks.wait("bench_1")

    assert ended.status == "completed"
    assert asked == ["results=false&wait_s=30.000", "results=false&wait_s=30.000", ""]


async def test_waiting_ends_with_the_time_that_was_given(client_of: Clients) -> None:
    service = Answering(200, benchmark("running"))

    with pytest.raises(WaitTimeout, match="bench_1"):
        await client_of(service).benchmarks.wait("bench_1", timeout_s=0.0)


async def test_watching_goes_on_after_an_outage(client_of: Clients) -> None:
    answers: list[Any] = ["running", None, "completed"]

    def service(request: httpx.Request) -> httpx.Response:
        status = answers.pop(0)
        if status is None:
            raise httpx.ConnectError("refused", request=request)
        return httpx.Response(200, json=benchmark(status))

    client = client_of(service, attempts=1)
    seen = [one async for one in client.benchmarks.watch("bench_1", every_s=0.0)]

    assert [one.status if isinstance(one, Benchmark) else "away" for one in seen] == [
        "running",
        "away",
        "completed",
    ]
    assert isinstance(seen[1], Outage)


@pytest.mark.parametrize(
    ("counts", "status", "all_succeeded"),
    [
        ({"total": 3, "succeeded": 3}, "completed", True),
        ({"total": 3, "succeeded": 2, "failed": 1}, "completed", False),
        ({"total": 3, "succeeded": 2, "skipped": 1}, "completed", False),
        ({"total": 3, "succeeded": 3}, "running", False),
    ],
)
def test_all_have_succeeded_only_when_it_ended_and_no_run_is_missing(
    counts: dict[str, int], status: str, all_succeeded: bool
) -> None:
    found = Benchmark.model_validate(benchmark(status, counts=whole(RunCounts, counts)))

    assert found.all_succeeded is all_succeeded
    assert found.counts.finished == 3


async def test_benchmarks_are_listed_cancelled_and_deleted(client_of: Clients) -> None:
    page = Answering(200, {"data": [benchmark()], "next_cursor": "c"})
    one = Answering(202, benchmark("cancelling"))
    gone = Answering(204, b"")

    listed = await client_of(page).benchmarks.list(limit=5, status="running", metadata={"a": "b"})
    cancelled = await client_of(one).benchmarks.cancel("bench_1")
    nothing = await client_of(gone).benchmarks.delete("bench_1")

    assert (listed.data[0].id, listed.next_cursor) == ("bench_1", "c")
    assert page.last[1] == "/benchmarks?limit=5&status=running&metadata.a=b"
    assert (cancelled.status, one.last[:2]) == (
        "cancelling",
        ("POST", "/benchmarks/bench_1/cancel"),
    )
    assert (nothing, gone.last[:2]) == (None, ("DELETE", "/benchmarks/bench_1"))


async def test_a_cancel_whose_answer_was_lost_is_not_sent_again(client_of: Clients) -> None:
    asked: list[str] = []

    def service(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        raise httpx.ReadError("cut", request=request)

    with pytest.raises(ServiceUnreachable):
        await client_of(service).benchmarks.cancel("bench_1")

    assert asked == ["POST"]


async def test_runs_are_asked_for_page_by_page(client_of: Clients) -> None:
    queries: list[str] = []

    def service(request: httpx.Request) -> httpx.Response:
        queries.append(request.url.query.decode())
        assert request.headers["accept"] == "application/json"
        if "cursor" not in request.url.params:
            return httpx.Response(200, json={"data": [run(0), run(1)], "next_cursor": "c"})
        return httpx.Response(200, json={"data": [run(2)], "next_cursor": None})

    runs = [one async for one in client_of(service).benchmarks.runs("bench_1", page_size=2)]

    assert [one.run_index for one in runs] == [0, 1, 2]
    assert queries == ["limit=2", "limit=2&cursor=c"]


async def test_a_stream_of_runs_is_read_line_by_line(client_of: Clients) -> None:
    lines = "".join(json.dumps(run(index), ensure_ascii=False) + "\n" for index in range(3))
    service = Answering(200, lines.encode())

    runs = [one async for one in client_of(service).benchmarks.stream_runs("bench_1")]

    assert runs == [BenchmarkRun.model_validate(run(index)) for index in range(3)]
    assert service.last[1] == "/benchmarks/bench_1/runs"
    assert service.asked[-1].headers["accept"] == "application/x-ndjson"


async def test_runs_are_downloaded_in_the_form_that_is_named(client_of: Clients) -> None:
    service = Answering(200, b"a,b\r\n")

    downloaded = client_of(service).benchmarks.download_runs("bench_1", format="csv")

    assert b"".join([piece async for piece in downloaded]) == b"a,b\r\n"
    assert service.asked[-1].headers["accept"] == "text/csv"


def test_a_line_that_is_no_run_is_unexpected() -> None:
    with pytest.raises(UnexpectedAnswer, match="A line of the runs cannot be read: "):
        benchmarks.read_run_line(b'{"run_index": "x"}')


@pytest.mark.parametrize(
    ("baseline", "path"),
    [
        ((), "/benchmarks/bench_1/compare"),
        (("bench_0",), "/benchmarks/bench_1/compare?baseline=bench_0"),
    ],
)
async def test_a_comparison_is_with_the_named_baseline_or_with_the_stored_one(
    client_of: Clients, baseline: tuple[str, ...], path: str
) -> None:
    service = Answering(200, examples.COMPARISON)

    found = await client_of(service).benchmarks.compare("bench_1", *baseline)

    assert service.last[1] == path
    assert found.comparisons[0].verdict == examples.COMPARED["verdict"]
    assert found.comparisons[0].ratio == examples.COMPARED["ratio"]


async def test_a_baseline_of_other_work_is_a_problem(client_of: Clients) -> None:
    service = Answering(
        422,
        {"title": "Invalid", "errors": [{"pointer": "/query/baseline", "detail": "other work"}]},
    )

    with pytest.raises(PromptmillProblem) as caught:
        await client_of(service).benchmarks.compare("bench_1", "bench_0")

    assert [error.pointer for error in caught.value.errors] == ["/query/baseline"]


async def test_a_report_is_the_bytes_of_a_file(client_of: Clients) -> None:
    service = Answering(200, "# Benchmark ±\n".encode())

    assert await client_of(service).benchmarks.report("bench_1", "md") == "# Benchmark ±\n".encode()
    assert service.last[1] == "/benchmarks/bench_1/report?format=md"


@pytest.mark.parametrize(
    "ask",
    [
        benchmarks.get_benchmark,
        benchmarks.cancel_benchmark,
        benchmarks.delete_benchmark,
        benchmarks.runs_page,
        benchmarks.compare_benchmarks,
    ],
)
def test_an_id_cannot_leave_its_place_in_the_path(ask: Callable[[str], Any]) -> None:
    assert ask("../x?y=/").path.startswith("/benchmarks/..%2Fx%3Fy%3D%2F")
