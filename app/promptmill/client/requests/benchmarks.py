"""Requests of the HTTP API about benchmarks: how each is built and its response read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypedDict
from urllib.parse import quote

from promptmill.client.requests.batches import (
    MEDIA_TYPES,
    DownloadFormat,
    Request,
    line_reader_of,
    query_of,
    reader_of,
)
from promptmill.client.requests.prompts import key_header
from promptmill.contract.benchmark_findings import Comparison as BenchmarkComparison
from promptmill.contract.benchmark_findings import Run as BenchmarkRun
from promptmill.contract.benchmark_findings import RunPage
from promptmill.contract.benchmarks import Benchmark, BenchmarkPage
from promptmill.json_values import encoded

ReportFormat = Literal["html", "md", "csv", "benchstat"]

_ACCEPTED: Final = frozenset({200, 202})


class BenchmarkFields(TypedDict, total=False):
    """Fields of a benchmark beside its models; fields left out have the service's defaults."""

    prompt: str
    """Prompt of every run; excludes `prompts`."""
    prompts: Sequence[str]
    """Several prompts, each with figures of its own."""
    num_runs: int
    """Measured runs of each prompt at each level, per request in flight; 1 to 10000."""
    warmup_runs: int
    """Runs of each prompt before the measured ones; 0 to 100."""
    concurrency: Sequence[int]
    """Levels, as numbers of requests kept in flight; 1 to 256 each."""
    options: Mapping[str, Any]
    """Ollama's model options."""
    think: bool | str
    prefix_cache: Literal["avoid", "allow"]
    """`avoid` puts unique digits before each prompt, so that Ollama has none of it cached."""
    measure_cold_load: bool
    """Whether each model is unloaded first, and its first answer measured separately."""
    order: Literal["sequential", "interleaved"]
    """All runs of a level before the next level, or rounds with a run of each level."""
    cooldown_s: float
    """Seconds of rest before each block of measured runs."""
    timeout_s: float
    """Most seconds of a run."""
    keep_alive: float | str
    slo: Mapping[str, float]
    """Objectives that a good request meets: `latency_s`, `ttft_s`, `tpot_s`."""
    baseline_id: str
    """Earlier benchmark of the same work, for comparison."""
    label: str
    host_info: str
    """Your description of the machine."""
    metadata: Mapping[str, str]
    """Up to 16 pairs of your own."""


def create_benchmark(
    models: Iterable[str], fields: BenchmarkFields, *, idempotency_key: str
) -> Request[Benchmark]:
    """POST /benchmarks.

    Raises:
        TypeError: `models` is not a list of strings.
        ValueError: There is no model, or a value has no JSON form.
    """
    if isinstance(models, str):
        # A string is iterable too, and would become one model per letter.
        raise TypeError("models must be a list of names, not a single one")
    names = list(models)
    for index, name in enumerate(names):
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"models[{index}] must be a string, not {type(name).__name__}")
    if not names:
        raise ValueError("a benchmark needs at least one model")
    return Request(
        method="POST",
        path="/benchmarks",
        content=encoded({"models": names, **fields}),
        headers={"content-type": "application/json", **key_header(idempotency_key)},
        expected=_ACCEPTED,
        read=reader_of(Benchmark),
    )


def get_benchmark(
    benchmark_id: str, *, results: bool = True, wait_s: float = 0.0
) -> Request[Benchmark]:
    """GET /benchmarks/{id}; the service responds when it has ended, or after `wait_s` seconds."""
    return Request(
        method="GET",
        path=_path(benchmark_id),
        query=query_of(
            results=None if results else "false", wait_s=f"{wait_s:.3f}" if wait_s > 0 else None
        ),
        held_s=wait_s,
        read=reader_of(Benchmark),
    )


def list_benchmarks(
    *,
    limit: int = 100,
    cursor: str | None = None,
    status: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Request[BenchmarkPage]:
    """GET /benchmarks: a page, newest first."""
    pairs = tuple((f"metadata.{name}", value) for name, value in (metadata or {}).items())
    return Request(
        method="GET",
        path="/benchmarks",
        query=query_of(limit=str(limit), cursor=cursor, status=status) + pairs,
        read=reader_of(BenchmarkPage),
    )


def cancel_benchmark(benchmark_id: str) -> Request[Benchmark]:
    """POST /benchmarks/{id}/cancel. A repetition may be refused because the benchmark has ended."""
    return Request(
        method="POST",
        path=_path(benchmark_id, "/cancel"),
        expected=_ACCEPTED,
        repeatable=False,
        read=reader_of(Benchmark),
    )


def delete_benchmark(benchmark_id: str) -> Request[None]:
    """DELETE /benchmarks/{id}. A repetition finds no benchmark."""
    return Request(
        method="DELETE",
        path=_path(benchmark_id),
        expected=frozenset({204}),
        repeatable=False,
        read=lambda _: None,
    )


def runs_page(
    benchmark_id: str, *, limit: int = 100, cursor: str | None = None
) -> Request[RunPage]:
    """GET /benchmarks/{id}/runs: a page."""
    return Request(
        method="GET",
        path=_path(benchmark_id, "/runs"),
        query=query_of(limit=str(limit), cursor=cursor),
        headers={"accept": "application/json"},
        read=reader_of(RunPage),
    )


def download_runs(
    benchmark_id: str,
    *,
    format: DownloadFormat,  # noqa: A002 - the contract's word
) -> Request[bytes]:
    """GET /benchmarks/{id}/runs: all runs as a stream."""
    return Request(
        method="GET",
        path=_path(benchmark_id, "/runs"),
        headers={"accept": MEDIA_TYPES[format]},
        read=lambda answer: answer.content,
    )


def compare_benchmarks(
    benchmark_id: str, *, baseline_id: str | None = None
) -> Request[BenchmarkComparison]:
    """GET /benchmarks/{id}/compare; without `baseline_id`, with the benchmark's own baseline."""
    return Request(
        method="GET",
        path=_path(benchmark_id, "/compare"),
        query=query_of(baseline=baseline_id),
        read=reader_of(BenchmarkComparison),
    )


def benchmark_report(
    benchmark_id: str,
    *,
    format: ReportFormat,  # noqa: A002 - the contract's word
) -> Request[bytes]:
    """GET /benchmarks/{id}/report."""
    return Request(
        method="GET",
        path=_path(benchmark_id, "/report"),
        query=query_of(format=format),
        read=lambda answer: answer.content,
    )


read_run_line = line_reader_of(BenchmarkRun, "runs")
"""Reads a run from a line of a downloaded NDJSON stream."""


def _path(benchmark_id: str, below: str = "") -> str:
    return f"/benchmarks/{quote(benchmark_id, safe='')}{below}"
