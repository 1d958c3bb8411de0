"""Methods of `AsyncPromptmill` for benchmarks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Protocol, TypeVar, Unpack

from promptmill.client._async.watching import ended, watched
from promptmill.client.judgement import LONG_POLL_S, Outage
from promptmill.client.ndjson import LineSplitter
from promptmill.client.requests import benchmarks as requests
from promptmill.client.requests.batches import DownloadFormat, Request, new_idempotency_key
from promptmill.client.requests.benchmarks import BenchmarkFields, ReportFormat
from promptmill.contract.benchmark_findings import Comparison as BenchmarkComparison
from promptmill.contract.benchmark_findings import Run as BenchmarkRun
from promptmill.contract.benchmark_findings import RunPage
from promptmill.contract.benchmarks import Benchmark, BenchmarkPage

T = TypeVar("T")


class AsyncCall(Protocol):
    """Callable that sends a request and reads its response."""

    async def __call__(self, request: Request[T], /) -> T:
        """Send the request, and return what its response holds."""
        ...


class AsyncBenchmarks:
    """Benchmarks of a service; `client.benchmarks` is an instance.

    Methods raise the errors of `AsyncPromptmill`.

        async with AsyncPromptmill() as client:
            benchmark = await client.benchmarks.create(["qwen3:8b", "gemma3:4b"], num_runs=10)
            ended = await client.benchmarks.wait(benchmark.id)
            for name, result in ended.results.items():
                print(name, result.latency, result.tokens_per_sec, result.error)
    """

    def __init__(
        self, call: AsyncCall, stream: Callable[[Request[bytes]], AsyncIterator[bytes]]
    ) -> None:
        self._call = call
        self._stream = stream

    async def create(
        self,
        models: Iterable[str],
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[BenchmarkFields],
    ) -> Benchmark:
        """Create a benchmark; when the method returns, the service has stored it on disk.

        Each call makes an idempotency key unless one is given, so that a request whose response was
        lost can be repeated without creating a second benchmark.

        Raises:
            TypeError: `models` is a string instead of a list.
            ValueError: `models` is empty, or a value has no JSON form.
        """
        key = idempotency_key or new_idempotency_key()
        return await self._call(requests.create_benchmark(models, fields, idempotency_key=key))

    async def get(
        self, benchmark_id: str, *, results: bool = True, wait_s: float = 0.0
    ) -> Benchmark:
        """Get the benchmark's state, with the figures of its runs so far unless `results` is False.

        With `wait_s` the service responds when the benchmark has ended, or after that many seconds.
        """
        return await self._call(
            requests.get_benchmark(benchmark_id, results=results, wait_s=wait_s)
        )

    def watch(
        self,
        benchmark_id: str,
        *,
        every_s: float = 1.0,
        timeout_s: float | None = None,
        reconnect_s: float = 60.0,
    ) -> AsyncIterator[Benchmark | Outage]:
        """Yield the benchmark's state again and again, without figures, like `watch` of batches."""
        return watched(
            lambda wait_s: self.get(benchmark_id, results=False, wait_s=wait_s),
            every_s=every_s,
            timeout_s=timeout_s,
            reconnect_s=reconnect_s,
        )

    async def wait(
        self, benchmark_id: str, *, timeout_s: float | None = None, reconnect_s: float = 60.0
    ) -> Benchmark:
        """Wait until the benchmark has ended, also across restarts, and return it with its figures.

        Raises:
            WaitTimeout: The benchmark had not ended after `timeout_s`.
        """
        sightings = self.watch(
            benchmark_id, every_s=LONG_POLL_S, timeout_s=timeout_s, reconnect_s=reconnect_s
        )
        return await self.get((await ended(sightings, benchmark_id, timeout_s)).id)

    async def list(
        self,
        *,
        limit: int = 100,
        cursor: str | None = None,
        status: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> BenchmarkPage:
        """Get a page of the benchmarks that match, newest first, without their figures."""
        return await self._call(
            requests.list_benchmarks(limit=limit, cursor=cursor, status=status, metadata=metadata)
        )

    async def cancel(self, benchmark_id: str) -> Benchmark:
        """Cancel the benchmark: its running calls are aborted, its other runs are kept."""
        return await self._call(requests.cancel_benchmark(benchmark_id))

    async def delete(self, benchmark_id: str) -> None:
        """Delete an ended benchmark with its runs."""
        await self._call(requests.delete_benchmark(benchmark_id))

    async def runs_page(
        self, benchmark_id: str, *, limit: int = 100, cursor: str | None = None
    ) -> RunPage:
        """Get a page of runs in the order of recording; `cursor` is that of the page before."""
        return await self._call(requests.runs_page(benchmark_id, limit=limit, cursor=cursor))

    async def runs(self, benchmark_id: str, *, page_size: int = 500) -> AsyncIterator[BenchmarkRun]:
        """Yield all runs so far, requesting page after page as they are consumed."""
        cursor: str | None = None
        while True:
            page = await self.runs_page(benchmark_id, limit=page_size, cursor=cursor)
            for run in page.data:
                yield run
            cursor = page.next_cursor
            if cursor is None:
                return

    async def stream_runs(self, benchmark_id: str) -> AsyncIterator[BenchmarkRun]:
        """Yield all runs so far from one streamed response: the fastest way to read many."""
        splitter = LineSplitter()
        async for piece in self.download_runs(benchmark_id):
            for line in splitter.feed(piece):
                yield requests.read_run_line(line)
        for line in splitter.end():
            yield requests.read_run_line(line)

    def download_runs(
        self,
        benchmark_id: str,
        *,
        format: DownloadFormat = "ndjson",  # noqa: A002 - the contract's word
    ) -> AsyncIterator[bytes]:
        """Yield the bytes of all runs in a format as they arrive, cut anywhere.

        A file of them is complete only if the iteration reached its end.
        """
        return self._stream(requests.download_runs(benchmark_id, format=format))

    async def compare(
        self, benchmark_id: str, baseline_id: str | None = None
    ) -> BenchmarkComparison:
        """Compare the benchmark with an ended benchmark of the same work.

        Without `baseline_id`, the baseline is that of the benchmark's creation.
        """
        return await self._call(requests.compare_benchmarks(benchmark_id, baseline_id=baseline_id))

    async def report(
        self,
        benchmark_id: str,
        format: ReportFormat = "html",  # noqa: A002 - the contract's word
    ) -> bytes:
        """Get the report as the bytes of a file; the HTML report needs no network."""
        return await self._call(requests.benchmark_report(benchmark_id, format=format))
