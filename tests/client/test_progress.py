"""`progress=True`: what is shown while a program waits, where there is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from promptmill.client import Promptmill
from tests.cli.pretended import batch

Clients = Callable[..., Any]


def going(*documents: dict[str, Any]) -> Callable[[httpx.Request], httpx.Response]:
    shown = iter(documents)
    return lambda request: httpx.Response(200, json=next(shown))


async def test_waiting_shows_lines_where_there_is_no_terminal(
    client_of: Clients, capsys: pytest.CaptureFixture[str]
) -> None:
    documents = (
        batch("queued", total=4),
        batch("running", total=4, pending=2, succeeded=2),
        batch("completed", total=4, succeeded=3, failed=1),
    )

    ended = await client_of(going(*documents)).wait("batch_1", progress=True)

    assert ended.status == "completed"
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "queued: 0/4",
        "running: 2/4",
        "completed: 4/4, 1 failed",
    ]


async def test_waiting_shows_nothing_unless_it_is_asked_to(
    client_of: Clients, capsys: pytest.CaptureFixture[str]
) -> None:
    await client_of(going(batch("completed", total=4, succeeded=4))).wait("batch_1")

    assert capsys.readouterr() == ("", "")


def test_an_outage_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    answers: Iterator[Any] = iter(
        [
            httpx.Response(200, json=batch("running", total=1, pending=1)),
            httpx.ConnectError("refused"),
            httpx.ConnectError("refused"),
            httpx.Response(200, json=batch("completed", total=1, succeeded=1)),
        ]
    )

    def answer(request: httpx.Request) -> httpx.Response:
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return found

    client = Promptmill(transport=httpx.MockTransport(answer), attempts=1)
    client.wait("batch_1", progress=True)

    begun, lost, *rest = capsys.readouterr().err.splitlines()
    assert begun == "running: 0/1"
    assert lost.startswith("Lost the service (")
    assert rest == ["completed: 1/1"]


def test_an_interruption_says_how_to_come_back(capsys: pytest.CaptureFixture[str]) -> None:
    documents = iter([batch("running", total=1, pending=1)])

    def answer(request: httpx.Request) -> httpx.Response:
        document = next(documents, None)
        if document is None:
            raise KeyboardInterrupt
        return httpx.Response(200, json=document)

    with pytest.raises(KeyboardInterrupt):
        Promptmill(transport=httpx.MockTransport(answer)).wait("batch_1", progress=True)

    assert capsys.readouterr().err.splitlines() == [
        "running: 0/1",
        "The batch goes on; wait('batch_1') continues to wait for it.",
    ]
