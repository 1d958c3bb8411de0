"""Both clients behind one asynchronous face, so that each behaviour is stated once."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from promptmill.client import AsyncPromptmill, Benchmarks, Promptmill, Results

Handler = Callable[[httpx.Request], httpx.Response]


class Blocking:
    """The synchronous client, with results that can be awaited and iterated asynchronously."""

    def __init__(self, client: Promptmill | Benchmarks | Results) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if isinstance(method, Benchmarks):
            return Blocking(method)
        if inspect.signature(method).return_annotation == "Results":
            return lambda *args, **fields: Blocking(method(*args, **fields))
        # An iterator is annotated as one; everything else is awaited.
        if inspect.signature(method).return_annotation.startswith("Iterator["):
            return lambda *args, **fields: _iterated(method(*args, **fields))
        return lambda *args, **fields: _awaited(method, args, fields)

    def __aiter__(self) -> AsyncIterator[Any]:
        return _iterated(self._client)


async def _iterated(values: Any) -> AsyncIterator[Any]:
    for value in values:
        yield value


async def _awaited(method: Callable[..., Any], args: Any, fields: Any) -> Any:
    return method(*args, **fields)


@pytest.fixture(params=["sync", "async"])
async def client_of(request: pytest.FixtureRequest) -> AsyncIterator[Callable[..., Any]]:
    """`client_of(handler)` is a client whose service is that function."""
    to_close: list[AsyncPromptmill] = []

    def make(handler: Handler, **fields: Any) -> Any:
        transport = httpx.MockTransport(handler)
        if request.param == "sync":
            return Blocking(Promptmill(transport=transport, **fields))
        client = AsyncPromptmill(transport=transport, **fields)
        to_close.append(client)
        return client

    yield make
    for client in to_close:
        await client.aclose()
