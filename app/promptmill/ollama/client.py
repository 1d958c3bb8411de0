"""Talking to one Ollama server. `run` is the prompt's path: everything in it is counted.

`run` never raises an error: its failures are values of `ollama.failures.table`. The other requests
(models, version, pulls) raise `OllamaError`.

On the prompt's path the transport is called directly. An `httpx.AsyncClient` would add redirects,
cookies and authentication, which Ollama does not use, and take longer than the rest of the call
(`docs/adr/0003-http-transport.md`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import aiohttp
import httpx
from pydantic import BaseModel, ValidationError

from promptmill.domain.benchmarks.timeline import Timeline
from promptmill.domain.calls import Call
from promptmill.domain.hosts.address import parse_ollama_host
from promptmill.domain.hosts.credentials import Credentials
from promptmill.domain.model_names import normalise_model
from promptmill.domain.outcomes import CallMetrics, Failed, Outcome
from promptmill.ollama import wire
from promptmill.ollama.answer import Answer
from promptmill.ollama.deadlines import Deadlines, Timeouts
from promptmill.ollama.failures.exceptions import CallPhase, failed_exception
from promptmill.ollama.failures.table import (
    Break,
    OllamaError,
    Timeout,
    failed_answer,
    failed_break,
    failed_pull,
    failed_request,
    failed_timeout,
    failed_unload,
)
from promptmill.ollama.failures.usage_limits import retry_after_s
from promptmill.ollama.heard_answer import HeardAnswer, Piece
from promptmill.ollama.models import InstalledModel, ModelInfo, PullProgress, RunningModel
from promptmill.ollama.request import PATHS, encode, path_of, post
from promptmill.ollama.timed_answer import TimedAnswer
from promptmill.ollama.transport import close_answer, is_encoded, open_transport, stream_of
from promptmill.ollama.vectors import Vectors

_OK = 200
_ERROR_BODY_BOUND = 64 * 1024
_LINGER_S = 0.25
"""Seconds to read the end of an answer that is done, before the connection is dropped."""
_ASK_S = 30.0
"""Seconds for a request that Ollama answers without work."""
_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.5
"""Seconds between two checks whether a model was unloaded."""


class OllamaClient:
    """Client of one server, bound to the event loop of its first call; close it in that loop."""

    def __init__(
        self,
        base_url: str,
        *,
        timeouts: Timeouts | None = None,
        credentials: Credentials | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Store the arguments; no connection is opened before the first call.

        Args:
            base_url: Any form that `parse_ollama_host` takes.
            timeouts: Timeouts of every call.
            credentials: Sent as `Authorization`, and removed from the server's error messages.
            transport: Replaces the network in tests.
            clock: Monotonic seconds, for the measured times (`latency_s`, `ttft_s`).

        Raises:
            ValueError: `base_url` is not an address, or the certificates that the environment names
                cannot be read.
        """
        self.base_url = parse_ollama_host(base_url)
        self.timeouts = timeouts or Timeouts()
        self._credentials = credentials
        self._transport = transport or open_transport(self.base_url, credentials=credentials)
        self._clock = clock
        self._urls = {path: httpx.URL(f"{self.base_url}{path}") for path in PATHS}
        # "pool" is aiohttp's "connect": the whole way to a connection. Reading is timed by
        # `Deadlines`, which distinguishes the first byte from the rest.
        self._extensions = {"timeout": {"pool": self.timeouts.connect_s}}

    async def run(
        self,
        call: Call,
        *,
        timeline: Timeline | None = None,
        heard: Callable[[Piece], None] | None = None,
    ) -> Outcome:
        """Send one prompt and read its answer to the end.

        A given timeline is filled in; `heard` receives each piece of the answer. No error is raised
        except `CancelledError`: then the connection is closed before the method ends, and Ollama
        frees the slot within milliseconds. The text is as Ollama sent it, except that NUL and lone
        surrogates are U+FFFD, because no database stores them.
        """
        try:
            body = encode(call)
        except (TypeError, ValueError, RecursionError) as error:
            return failed_request(error)
        request = post(self._urls[path_of(call)], body, self._extensions)
        sent_at = self._clock()
        if timeline is not None:
            timeline.sent_at = sent_at
        answer = _answer_to(call, timeline, heard)
        deadlines = Deadlines(
            first_byte_s=self.timeouts.first_byte_s,
            between_chunks_s=self.timeouts.between_chunks_s,
            whole_call_s=call.timeout_s,
        )
        response: httpx.Response | None = None
        try:
            response = await self._transport.handle_async_request(request)
            deadlines.progress()
            if response.status_code == _OK:
                await self._read(response, answer, deadlines)
                failed = answer.failed
            else:
                after_s = self._clock() - sent_at
                failed = await self._refusal(response, after_s=after_s)
        except asyncio.CancelledError:
            passed = deadlines.passed_and_uncancelled()
            if passed is None:
                raise
            failed = failed_timeout(self.base_url, *passed)
        except Exception as error:  # noqa: BLE001 - the table has a row for every exception
            phase = CallPhase.ASKED if response is None else CallPhase.ANSWERING
            failed = self._failed(error, phase)
        finally:
            deadlines.stop()
            if response is not None:
                await close_answer(response)
        began_at = answer.began_at
        ttft_s = None if began_at is None else began_at - sent_at
        if answer.done_at is not None:
            # After `done: true` the answer is complete, whatever happened then.
            return answer.succeeded(latency_s=answer.done_at - sent_at, ttft_s=ttft_s)
        return replace(
            self._told(failed or failed_break(Break.NO_DONE)),
            response=answer.text() if began_at is not None else None,
            metrics=CallMetrics(latency_s=self._clock() - sent_at, ttft_s=ttft_s),
        )

    async def version(self, *, within_s: float = _ASK_S) -> str:
        """Get the server's version, the cheapest sign of life, which a loading model never delays.

        Raises:
            OllamaError: The server did not respond as Ollama does, or not within that time.
        """
        return (await self._ask(wire.Version, "GET", "/api/version", within_s=within_s)).version

    async def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        within_s: float = _ASK_S,
    ) -> dict[str, Any]:
        """Send a request, and return the JSON object of the response with all of its fields.

        Raises:
            OllamaError: The server sent no object, or not within that time.
        """
        found = await self._ask(wire.Anything, method, path, body, within_s=within_s)
        return found.model_extra or {}

    async def list_models(self, *, within_s: float = _ASK_S) -> list[InstalledModel]:
        """List the installed models, from `/api/tags`.

        Raises:
            OllamaError: The server did not respond as Ollama does, or not within that time.
        """
        tags = await self._ask(wire.Tags, "GET", "/api/tags", within_s=within_s)
        return [model.installed() for model in tags.models or ()]

    async def list_running(self, *, within_s: float = _ASK_S) -> list[RunningModel]:
        """List the loaded models, from `/api/ps`; a loading model may delay the response.

        Raises:
            OllamaError: The server did not respond as Ollama does, or not within that time.
        """
        processes = await self._ask(wire.Processes, "GET", "/api/ps", within_s=within_s)
        return [model.running() for model in processes.models or ()]

    async def show(self, model: str) -> ModelInfo:
        """Get the details of a model, from `/api/show`.

        Raises:
            OllamaError: There is no such model (`MODEL_NOT_FOUND`), or no response.
        """
        return (await self._ask(wire.Shown, "POST", "/api/show", {"model": model})).info()

    async def unload(self, model: str) -> None:
        """Unload a model, and wait until it is gone.

        A model that is not loaded is gone at once; a busy one stays until its last request has
        ended.

        Raises:
            OllamaError: There is no such model (`MODEL_NOT_FOUND`), no response, or the model is
                still loaded after `Timeouts.unload_s` (`TIMEOUT`).
        """
        body = {"model": model, "prompt": "", "keep_alive": 0, "stream": False}
        await self._ask(wire.Unloaded, "POST", "/api/generate", body)
        try:
            async with asyncio.timeout(self.timeouts.unload_s):
                await self._gone(normalise_model(model))
        except TimeoutError as error:
            seconds = self.timeouts.unload_s
            raise OllamaError(failed_unload(self.base_url, model, seconds)) from error

    async def pull(self, model: str) -> AsyncGenerator[PullProgress, None]:
        """Pull a model, and yield each reported line, of which the last is `success`.

        An abandoned pull continues where it stopped when it is requested again.

        Raises:
            OllamaError: The pull failed; an unknown model is `MODEL_NOT_FOUND`.
        """
        request = self._request("POST", "/api/pull", {"model": model})
        line: wire.PullLine | None = None
        try:
            async with self._opened(request, self.timeouts.pull_silence_s) as response:
                lines = response.aiter_lines()
                while (text := await self._next_line(lines, line)) is not None:
                    if not text.strip():
                        continue
                    line = wire.PullLine.model_validate_json(text)
                    if line.error is not None:
                        raise OllamaError(self._told(failed_pull(line.error)))
                    yield line.progress()
        except _FOREIGN as error:
            raise self._translated(
                error, CallPhase.ANSWERING if line else CallPhase.ASKED
            ) from error
        if line is None or line.status != "success":
            raise OllamaError(failed_break(Break.NO_SUCCESS))

    async def _next_line(self, lines: AsyncIterator[str], last: wire.PullLine | None) -> str | None:
        """Read the next line of a pull; None after the last one."""
        is_fetching = last is not None and last.digest is not None
        waits = self.timeouts
        within_s = waits.between_chunks_s if is_fetching else waits.pull_silence_s
        try:
            async with asyncio.timeout(within_s):
                return await anext(lines, None)
        except TimeoutError as error:
            failed = failed_timeout(self.base_url, Timeout.BETWEEN_CHUNKS, within_s)
            raise OllamaError(failed) from error

    async def aclose(self) -> None:
        """Close every connection; the client cannot be used afterwards."""
        await self._transport.aclose()

    async def _gone(self, name: str) -> None:
        """Poll until the server no longer lists the model; it sends no event for that."""
        pause_s = _FIRST_PAUSE_S
        while name in {normalise_model(model.name) for model in await self.list_running()}:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _read(self, response: httpx.Response, answer: Answer, deadlines: Deadlines) -> None:
        # The raw stream, because `aiter_bytes` decodes and counts needlessly.
        chunks = response.aiter_bytes() if is_encoded(response) else aiter(stream_of(response))
        try:
            async for chunk in chunks:
                deadlines.progress()
                if answer.feed(chunk, self._clock()):
                    if answer.failed is not None:
                        return
                    # Read on to the end, so that the connection can be used again.
                    deadlines.shorten(_LINGER_S)
            answer.end(self._clock())
        finally:
            # Closed here, because the event loop would close an unfinished generator later.
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()

    async def _refusal(self, response: httpx.Response, *, after_s: float | None = None) -> Failed:
        """Build the failure of a response with a status other than 200."""
        body = bytearray()
        # The status suffices even if the connection breaks afterwards.
        with contextlib.suppress(Exception):
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _ERROR_BODY_BOUND:
                    break
        return failed_answer(
            self.base_url,
            response.status_code,
            bytes(body),
            after_s=after_s,
            retry_after_s=retry_after_s(
                response.headers.get("retry-after"), date=response.headers.get("date")
            ),
        )

    async def _ask(
        self,
        kind: type[_B],
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        within_s: float = _ASK_S,
    ) -> _B:
        """Make one request that Ollama answers at once, checked against its wire model."""
        try:
            async with asyncio.timeout(within_s):
                async with self._opened(self._request(method, path, body), within_s) as response:
                    return kind.model_validate_json(await response.aread())
        except TimeoutError as error:
            failed = failed_timeout(self.base_url, Timeout.FIRST_BYTE, within_s)
            raise OllamaError(failed) from error
        except _FOREIGN as error:
            raise self._translated(error) from error

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None) -> httpx.Request:
        return httpx.Request(
            method,
            f"{self.base_url}{path}",
            content=None if body is None else json.dumps(body).encode(),
            extensions=self._extensions,
        )

    @contextlib.asynccontextmanager
    async def _opened(
        self, request: httpx.Request, timeout_s: float
    ) -> AsyncGenerator[httpx.Response, None]:
        """Open a response with status 200, and close it at the end."""
        async with asyncio.timeout(timeout_s):
            response = await self._transport.handle_async_request(request)
        try:
            if response.status_code != _OK:
                async with asyncio.timeout(timeout_s):
                    raise OllamaError(self._told(await self._refusal(response)))
            yield response
        finally:
            await close_answer(response)

    def _translated(self, error: Exception, phase: CallPhase = CallPhase.ASKED) -> OllamaError:
        if isinstance(error, ValidationError):
            kind = Break.NO_OLLAMA if phase is CallPhase.ASKED else Break.NOT_JSON
            return OllamaError(failed_break(kind))
        return OllamaError(self._failed(error, phase))

    def _told(self, failed: Failed) -> Failed:
        """Remove the credentials from a failure."""
        if self._credentials is None:
            return failed
        return replace(failed, message=self._credentials.strike_out(failed.message))

    def _failed(self, error: Exception, phase: CallPhase) -> Failed:
        connect_s = self.timeouts.connect_s
        return failed_exception(self.base_url, error, phase, connect_s=connect_s)


_B = TypeVar("_B", bound=BaseModel)
_FOREIGN = (httpx.HTTPError, httpx.StreamError, aiohttp.ClientError, OSError, ValidationError)


def _answer_to(
    call: Call, timeline: Timeline | None, heard: Callable[[Piece], None] | None
) -> Answer:
    chat = call.messages is not None
    if call.texts is not None:
        return Vectors(len(call.texts))
    if timeline is not None:
        return TimedAnswer(timeline, chat=chat)
    return Answer(chat=chat) if heard is None else HeardAnswer(heard, chat=chat)
