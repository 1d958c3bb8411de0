# Generated from _async/benchmarks.py by scripts/sync_client.py: change that file instead.
"""What `Promptmill` can do with benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol, TypeVar, Unpack

from promptmill.client._sync.watching import ended, watched
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


class Call(Protocol):
    """Sends a request and reads its answer."""

    def __call__(self, request: Request[T], /) -> T:
        """The answer, read."""
        ...


class Benchmarks:
    """The benchmarks of a service; `client.benchmarks` is one.

    Methods raise what those of `Promptmill` do.

        with Promptmill() as client:
            benchmark = client.benchmarks.create(["qwen3:8b", "gemma3:4b"], num_runs=10)
            ended = client.benchmarks.wait(benchmark.id)
            for name, result in ended.results.items():
                print(name, result.latency, result.tokens_per_sec, result.error)
    """

    def __init__(self, call: Call, stream: Callable[[Request[bytes]], Iterator[bytes]]) -> None:
        self._call = call
        self._stream = stream

    def create(
        self,
        models: Iterable[str],
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[BenchmarkFields],
    ) -> Benchmark:
        """Order a benchmark; when this returns, the service has it on disk.

        A key is made for each call unless one is given, so that a request whose answer was lost is
        repeated without making a second benchmark.

        Raises:
            TypeError: `models` is a single text.
            ValueError: There is no model, or something in it that JSON cannot say.
        """
        key = idempotency_key or new_idempotency_key()
        return self._call(requests.create_benchmark(models, fields, idempotency_key=key))

    def get(self, benchmark_id: str, *, results: bool = True, wait_s: float = 0.0) -> Benchmark:
        """The benchmark as it stands, with the figures of its runs so far unless `results` is off.

        With `wait_s` the answer comes when it has ended, at the latest after that time.
        """
        return self._call(requests.get_benchmark(benchmark_id, results=results, wait_s=wait_s))

    def watch(
        self,
        benchmark_id: str,
        *,
        every_s: float = 1.0,
        timeout_s: float | None = None,
        reconnect_s: float = 60.0,
    ) -> Iterator[Benchmark | Outage]:
        """The benchmark again and again, without its figures, as `watch` of batches does."""
        return watched(
            lambda wait_s: self.get(benchmark_id, results=False, wait_s=wait_s),
            every_s=every_s,
            timeout_s=timeout_s,
            reconnect_s=reconnect_s,
        )

    def wait(
        self, benchmark_id: str, *, timeout_s: float | None = None, reconnect_s: float = 60.0
    ) -> Benchmark:
        """The benchmark with its figures when it has ended; a restart meanwhile does no harm.

        Raises:
            WaitTimeout: It had not ended after `timeout_s`.
        """
        sightings = self.watch(
            benchmark_id, every_s=LONG_POLL_S, timeout_s=timeout_s, reconnect_s=reconnect_s
        )
        return self.get((ended(sightings, benchmark_id, timeout_s)).id)

    def list(
        self,
        *,
        limit: int = 100,
        cursor: str | None = None,
        status: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> BenchmarkPage:
        """A page of benchmarks that match, newest first, without their figures."""
        return self._call(
            requests.list_benchmarks(limit=limit, cursor=cursor, status=status, metadata=metadata)
        )

    def cancel(self, benchmark_id: str) -> Benchmark:
        """Ask for the benchmark to end: the runs under way are aborted, others stay."""
        return self._call(requests.cancel_benchmark(benchmark_id))

    def delete(self, benchmark_id: str) -> None:
        """Remove an ended benchmark with its runs."""
        self._call(requests.delete_benchmark(benchmark_id))

    def runs_page(
        self, benchmark_id: str, *, limit: int = 100, cursor: str | None = None
    ) -> RunPage:
        """A page of runs in the order of their recording; `cursor` is the page before's."""
        return self._call(requests.runs_page(benchmark_id, limit=limit, cursor=cursor))

    def runs(self, benchmark_id: str, *, page_size: int = 500) -> Iterator[BenchmarkRun]:
        """Every single run so far, asked for page by page as they are consumed."""
        cursor: str | None = None
        while True:
            page = self.runs_page(benchmark_id, limit=page_size, cursor=cursor)
            for run in page.data:
                yield run
            cursor = page.next_cursor
            if cursor is None:
                return

    def stream_runs(self, benchmark_id: str) -> Iterator[BenchmarkRun]:
        """Every single run so far out of one streamed answer: fastest for many."""
        splitter = LineSplitter()
        for piece in self.download_runs(benchmark_id):
            for line in splitter.feed(piece):
                yield requests.read_run_line(line)
        for line in splitter.end():
            yield requests.read_run_line(line)

    def download_runs(
        self,
        benchmark_id: str,
        *,
        format: DownloadFormat = "ndjson",  # noqa: A002 - the contract's word
    ) -> Iterator[bytes]:
        """The bytes of all runs in that format as they arrive, cut anywhere.

        Whoever writes them to a file has a whole file only if the iteration came to its end.
        """
        return self._stream(requests.download_runs(benchmark_id, format=format))

    def compare(self, benchmark_id: str, baseline_id: str | None = None) -> BenchmarkComparison:
        """The benchmark beside an ended one of the same work: what is faster, what slower.

        Without `baseline_id`, the one with which the benchmark was created.
        """
        return self._call(requests.compare_benchmarks(benchmark_id, baseline_id=baseline_id))

    def report(
        self,
        benchmark_id: str,
        format: ReportFormat = "html",  # noqa: A002 - the contract's word
    ) -> bytes:
        """The report as the bytes of a file; the one in HTML has charts and needs no network."""
        return self._call(requests.benchmark_report(benchmark_id, format=format))
