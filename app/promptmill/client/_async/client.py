"""The client for asyncio: sends what `client.requests.batches` builds, over `httpx.AsyncClient`."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx

from promptmill.client._async.benchmarks import AsyncBenchmarks
from promptmill.client._async.reading import AsyncReading
from promptmill.client.errors import PromptmillError
from promptmill.client.event_stream import BatchEvent, Following
from promptmill.client.httpx_mapping import (
    answer_of,
    arguments_of,
    async_arguments_of,
    broken_off,
    checked_base_url,
    headers_of,
    stream_error,
    trusts_environment,
)
from promptmill.client.judgement import (
    LONG_POLL_S,
    Again,
    BrokenOff,
    Patience,
    Sighting,
    error_of,
    judge,
)
from promptmill.client.ndjson import LineSplitter
from promptmill.client.records import (
    Batch,
    BatchPage,
    DryRun,
    Health,
    Host,
    Model,
    Readiness,
    Result,
    ResultPage,
    Worker,
)
from promptmill.client.requests import batches, steering, uploads
from promptmill.client.requests.batches import Answer, BatchFields, DownloadFormat, Prompt, Request
from promptmill.client.requests.filters import ResultFilters
from promptmill.client.requests.steering import BatchChanges
from promptmill.client.watching import ended_async, watched_async

T = TypeVar("T")


class AsyncPromptmill(AsyncReading):
    """`Promptmill` for asyncio: the same arguments, methods and errors, to be awaited.

    async with AsyncPromptmill() as client:
        batch = await client.submit(["Why is the sky blue?"], model="qwen3:8b")
        await client.wait(batch.id)
        async for result in client.results(batch.id):
            print(result.response)
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        timeout_s: float = 60.0,
        attempts: int = 3,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        url = checked_base_url(base_url)
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=headers_of(api_key, headers),
            transport=transport,
            trust_env=trusts_environment(url),
        )
        self.benchmarks = AsyncBenchmarks(self._call, self._stream)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def submit(
        self,
        prompts: Iterable[Prompt],
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[BatchFields],
    ) -> Batch:
        """Hand over a batch; when this returns, the service has it on disk.

        A key is made for each call unless one is given, so that a request whose answer was lost is
        repeated without making a second batch. Give one to make that hold for a whole program.

        Raises:
            ValueError: There is no prompt, or something in it that JSON cannot say.
        """
        key = idempotency_key or batches.new_idempotency_key()
        return await self._call(batches.submit_batch(prompts, fields, idempotency_key=key))

    async def submit_stream(
        self,
        prompts: Iterable[Prompt],
        *,
        idempotency_key: str | None = None,
        **fields: Unpack[BatchFields],
    ) -> Batch:
        """`submit` for any number of prompts: they are sent while `prompts` makes them.

        Neither side holds them all in memory, and the batch appears when the last one is stored. A
        list is sent again after a lost answer, an iterator (which is used up) is not.

        Raises:
            TypeError: `prompts` is a single text.
            ValueError: Something in it cannot be said in JSON.
        """
        key = idempotency_key or batches.new_idempotency_key()
        return await self._call(uploads.submit_stream(prompts, fields, idempotency_key=key))

    async def dry_run(self, prompts: Iterable[Prompt], **fields: Unpack[BatchFields]) -> DryRun:
        """What a batch of these would be; everything is checked, the models too, nothing stored.

        Raises:
            PromptmillProblem: It would be refused; `errors` names every prompt that is wrong.
            TypeError: `prompts` is a single text.
            ValueError: Something in it cannot be said in JSON.
        """
        return await self._call(uploads.dry_run(prompts, fields))

    async def get(self, batch_id: str, *, limit: int = 0, wait_s: float = 0.0) -> Batch:
        """The batch as it stands, with its first `limit` results.

        With `wait_s` the answer comes when the batch has ended, at the latest after that time.
        """
        return await self._call(batches.get_batch(batch_id, limit=limit, wait_s=wait_s))

    def watch(
        self,
        batch_id: str,
        *,
        every_s: float = 1.0,
        timeout_s: float | None = None,
        reconnect_s: float = 60.0,
    ) -> AsyncIterator[Sighting]:
        """The batch again and again, until it has ended or `timeout_s` is over.

        While the service is away (a restart), an `Outage` comes instead and it is tried again, for
        at most `reconnect_s`; then its error is raised.
        """
        return watched_async(
            lambda wait_s: self.get(batch_id, wait_s=wait_s),
            every_s=every_s,
            timeout_s=timeout_s,
            reconnect_s=reconnect_s,
        )

    async def wait(
        self, batch_id: str, *, timeout_s: float | None = None, reconnect_s: float = 60.0
    ) -> Batch:
        """The batch when it has ended; a restart of the service meanwhile does no harm.

        Raises:
            WaitTimeout: It had not ended after `timeout_s`.
        """
        sightings = self.watch(
            batch_id, every_s=LONG_POLL_S, timeout_s=timeout_s, reconnect_s=reconnect_s
        )
        return await ended_async(sightings, batch_id, timeout_s)

    async def results_page(
        self,
        batch_id: str,
        *,
        limit: int = 100,
        cursor: str | None = None,
        status: str | None = None,
        **filters: Unpack[ResultFilters],
    ) -> ResultPage:
        """A page of finished results in prompt order; `cursor` is the page before's."""
        request = batches.results_page(
            batch_id, limit=limit, cursor=cursor, status=status, filters=filters
        )
        return await self._call(request)

    async def results(
        self,
        batch_id: str,
        *,
        status: str | None = None,
        page_size: int = 500,
        **filters: Unpack[ResultFilters],
    ) -> AsyncIterator[Result]:
        """All finished results in prompt order, asked for page by page as they are consumed."""
        cursor: str | None = None
        while True:
            page = await self.results_page(
                batch_id, limit=page_size, cursor=cursor, status=status, **filters
            )
            for result in page.data:
                yield result
            if (cursor := page.next_cursor) is None:
                return

    async def stream_results(
        self, batch_id: str, *, status: str | None = None, **filters: Unpack[ResultFilters]
    ) -> AsyncIterator[Result]:
        """All finished results in prompt order out of one streamed answer: fastest for many."""
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
        """The bytes of the results as they arrive, cut anywhere; whole only at the end."""
        return self._stream(
            batches.download_results(batch_id, format=format, status=status, filters=filters)
        )

    async def events(
        self,
        batch_id: str,
        *,
        results: bool = False,
        last_event_id: str | None = None,
        reconnect_s: float = 60.0,
    ) -> AsyncIterator[BatchEvent]:
        """What becomes of the batch, as it happens, until it has ended.

        With `results` each result comes once, in the order in which they were stored: all of them,
        or those after the event of id `last_event_id`. A connection that breaks is made again and
        goes on where it was, unless that fails for `reconnect_s`.
        """
        following = Following(batch_id, results=results, last_event_id=last_event_id)
        patience = Patience(reconnect_s)
        while not following.is_over:
            try:
                async with contextlib.aclosing(self._events_of_one_answer(following)) as events:
                    async for event in events:
                        patience.answered()
                        yield event
            except PromptmillError as error:
                pause_s = patience.pause_s(error, time.monotonic())
                if pause_s is None:
                    raise
                await asyncio.sleep(pause_s)

    async def list_batches(
        self,
        *,
        limit: int = 100,
        cursor: str | None = None,
        status: str | None = None,
        model: str | None = None,
        metadata: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> BatchPage:
        """A page of batches that match, newest first."""
        return await self._call(
            batches.list_batches(
                limit=limit, cursor=cursor, status=status, model=model, metadata=metadata, key=key
            )
        )

    async def cancel(self, batch_id: str) -> Batch:
        """Ask for the batch to end: running calls are aborted, finished results stay."""
        return await self._call(batches.cancel_batch(batch_id))

    async def pause(self, batch_id: str) -> Batch:
        """Start nothing more of the batch; prompts that run may finish."""
        return await self._call(steering.pause_batch(batch_id))

    async def resume(self, batch_id: str) -> Batch:
        """Let a paused batch go on."""
        return await self._call(steering.resume_batch(batch_id))

    async def retry(
        self,
        batch_id: str,
        *,
        indexes: Iterable[int] | None = None,
        expires_in_s: float | None = None,
    ) -> Batch:
        """Run again what failed, was cancelled or expired: all of it, or the prompts of `indexes`.

        A deadline that has passed no longer holds; `expires_in_s` sets a new one.
        """
        return await self._call(
            steering.retry_batch(batch_id, indexes=indexes, expires_in_s=expires_in_s)
        )

    async def update(self, batch_id: str, **changes: Unpack[BatchChanges]) -> Batch:
        """Change limits, priority or metadata; the next start of a prompt goes by them.

        Raises:
            ValueError: There is nothing to change.
        """
        return await self._call(steering.update_batch(batch_id, changes))

    async def delete(self, batch_id: str) -> None:
        """Remove an ended batch with its prompts and results."""
        await self._call(batches.delete_batch(batch_id))

    async def models(self) -> tuple[Model, ...]:
        """The models that the service can run."""
        return await self._call(batches.list_models())

    async def hosts(self) -> tuple[Host, ...]:
        """The Ollama hosts, asked now: reachable, loaded, in flight, put aside and why."""
        return await self._call(batches.list_hosts())

    async def workers(self) -> tuple[Worker, ...]:
        """The processes that work off the queue, those that have not stopped first."""
        return await self._call(batches.list_workers())

    async def health(self) -> Health:
        """Whether the process answers."""
        return await self._call(batches.health())

    async def ready(self) -> Readiness:
        """Whether the service can work now."""
        return await self._call(batches.ready())

    async def _events_of_one_answer(self, following: Following) -> AsyncGenerator[BatchEvent, None]:
        request = following.request()
        try:
            async with self._http.stream(**arguments_of(request, self._timeout_s)) as response:
                if response.status_code not in request.expected:
                    await response.aread()
                    raise error_of(answer_of(response))
                following.begin(response.status_code, response.headers)
                async for piece in response.aiter_bytes():
                    for event in following.feed(piece):
                        yield event
                    if following.is_over:
                        return
        except httpx.RequestError as error:
            raise stream_error(error) from error
        following.finish()

    async def _stream(self, request: Request[bytes]) -> AsyncIterator[bytes]:
        try:
            async with self._http.stream(**arguments_of(request, self._timeout_s)) as response:
                if response.status_code not in request.expected:
                    await response.aread()
                    raise error_of(answer_of(response))
                async for piece in response.aiter_bytes():
                    yield piece
        except httpx.RequestError as error:
            raise stream_error(error) from error

    async def _call(self, request: Request[T]) -> T:
        for attempt in itertools.count(1):
            decision = judge(
                request, await self._send(request), attempt=attempt, attempts=self._attempts
            )
            if not isinstance(decision, Again):
                return decision.value
            await asyncio.sleep(decision.pause_s)
        raise AssertionError("the last attempt has returned or raised")

    async def _send(self, request: Request[T]) -> Answer | BrokenOff:
        try:
            arguments = async_arguments_of(request, self._timeout_s)
            return answer_of(await self._http.request(**arguments))
        except httpx.DecodingError as error:
            raise stream_error(error) from error
        except httpx.RequestError as error:
            return broken_off(error)
