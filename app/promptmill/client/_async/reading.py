"""Methods of the asyncio client that read results, prompts and statistics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Literal, Unpack

from promptmill.client._async.connection import AsyncConnection
from promptmill.client._async.results import AsyncResults
from promptmill.client.ndjson import LineSplitter
from promptmill.client.requests import batches, reading
from promptmill.client.requests.batches import DownloadFormat
from promptmill.client.requests.filters import ResultFilters
from promptmill.contract.activity import Throughput
from promptmill.contract.reading import HistoryEntry, Stats, Summary, WaitingPrompt, WholePrompt
from promptmill.contract.results import Result, ResultPage
from promptmill.contract.settings import Installation


class AsyncReading(AsyncConnection):
    """Base class of `AsyncPromptmill` that reads results, prompts and statistics."""

    async def results_page(
        self,
        batch_id: str,
        *,
        limit: int = 100,
        cursor: str | None = None,
        status: str | None = None,
        **filters: Unpack[ResultFilters],
    ) -> ResultPage:
        """Get a page of finished results in prompt order; `cursor` is that of the page before."""
        request = batches.results_page(
            batch_id, limit=limit, cursor=cursor, status=status, filters=filters
        )
        return await self._call(request)

    def results(
        self,
        batch_id: str,
        *,
        status: str | None = None,
        page_size: int = 500,
        **filters: Unpack[ResultFilters],
    ) -> AsyncResults:
        """Get all finished results in prompt order, to iterate over or as a data frame.

        An iteration requests page after page as the results are consumed.
        """

        def page(cursor: str | None) -> Awaitable[ResultPage]:
            return self.results_page(
                batch_id, limit=page_size, cursor=cursor, status=status, **filters
            )

        return AsyncResults(page, lambda: self.download_results(batch_id, status=status, **filters))

    async def stream_results(
        self, batch_id: str, *, status: str | None = None, **filters: Unpack[ResultFilters]
    ) -> AsyncIterator[Result]:
        """Yield all finished results in prompt order from one streamed response."""
        splitter = LineSplitter()
        async for piece in self.download_results(batch_id, status=status, **filters):
            for line in splitter.feed(piece):
                yield batches.read_result_line(line)
        for line in splitter.end():
            yield batches.read_result_line(line)

    def download_results(
        self,
        batch_id: str,
        *,
        format: DownloadFormat = "ndjson",  # noqa: A002 - the contract's word
        status: str | None = None,
        **filters: Unpack[ResultFilters],
    ) -> AsyncIterator[bytes]:
        """Yield the bytes of the results as they arrive, cut anywhere; complete only at the end."""
        return self._stream(
            batches.download_results(batch_id, format=format, status=status, filters=filters)
        )

    async def prompts(
        self, batch_id: str, *, state: Literal["running", "pending"] = "running", limit: int = 100
    ) -> tuple[WaitingPrompt, ...]:
        """List prompts that run, with host and worker, or prompts that will start next."""
        return await self._call(reading.waiting_prompts(batch_id, state=state, limit=limit))

    async def prompt(self, batch_id: str, index: int) -> WholePrompt:
        """Get everything about one prompt, its result included."""
        return await self._call(reading.one_prompt(batch_id, index))

    async def history(self, batch_id: str) -> tuple[HistoryEntry, ...]:
        """Get a batch's progress over time, percentiles, shares, and failures by cause."""
        return await self._call(reading.history(batch_id))

    async def summary(self, batch_id: str) -> Summary:
        """Get statistics of the service: queue, hosts, workers, what needs an operator."""
        return await self._call(reading.summary(batch_id))

    async def stats(self) -> Stats:
        """The service at a glance: what waits, runs and works, and what needs a hand."""
        return await self._call(reading.stats())

    async def settings(self) -> Installation:
        """Every setting of the service as it is in force, versions, and the database."""
        return await self._call(reading.settings())

    async def throughput(
        self,
        *,
        window: Literal["15m", "1h", "6h", "24h", "72h", "30d", "365d"] = "1h",
        by: Literal["none", "model", "host"] = "none",
    ) -> Throughput:
        """Get the throughput over the window, in total or by model or host."""
        return await self._call(reading.throughput(window, by))
