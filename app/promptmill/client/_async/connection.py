"""The asyncio connection to a service: sends and repeats requests, and reads streams.

Requests are built in `client.requests`, and responses judged in `client.judgement`; this module
does the I/O.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from types import TracebackType
from typing import Self, TypeVar

import httpx

from promptmill.client.event_stream import BatchEvent, Following
from promptmill.client.httpx_mapping import (
    answer_of,
    async_arguments_of,
    broken_off,
    checked_base_url,
    headers_of,
    require_proxies,
    stream_error,
    trusts_environment,
)
from promptmill.client.judgement import Again, BrokenOff, error_of, judge
from promptmill.client.requests.batches import Answer, Request

T = TypeVar("T")


_LOGGER = logging.getLogger("promptmill.client")


async def _log(response: httpx.Response) -> None:
    # Only the path is logged, because a query may hold prompts.
    _LOGGER.debug(
        "%s %s answered %d, request id %s",
        response.request.method,
        response.request.url.path,
        response.status_code,
        response.headers.get("x-request-id", "unknown"),
    )


class AsyncConnection:
    """A connection to one service; use it in an `async with` block, or close it."""

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
        if trusts_environment(url):
            require_proxies()
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=headers_of(api_key, headers),
            transport=transport,
            trust_env=trusts_environment(url),
            event_hooks={"response": [_log]},
        )

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
        """Close the connections."""
        await self._http.aclose()

    async def _events_of_one_answer(self, following: Following) -> AsyncGenerator[BatchEvent, None]:
        request = following.request()
        try:
            async with self._http.stream(
                **async_arguments_of(request, self._timeout_s)
            ) as response:
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
            async with self._http.stream(
                **async_arguments_of(request, self._timeout_s)
            ) as response:
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
            return answer_of(
                await self._http.request(**async_arguments_of(request, self._timeout_s))
            )
        except httpx.DecodingError as error:
            raise stream_error(error) from error
        except httpx.RequestError as error:
            return broken_off(error)
