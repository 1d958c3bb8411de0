"""Streams of events of a real service: when it is stopped, and with a reader who takes nothing."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import psutil
import pytest

from promptmill.client import EndEvent, ProgressEvent, Promptmill, ResultEvent
from promptmill.client.event_stream import MessageParser

pytestmark = pytest.mark.proof


def test_sigterm_ends_every_stream_properly_and_waits_for_none(serve: Any, simulate: Any) -> None:
    host, _ = simulate(slots=4, request_s=0.05)
    service = serve(host, PROMPTMILL_DRAIN_S="0.1")
    batch_id = service.submit([f"q{n}" for n in range(5000)], max_concurrent=4)
    streaming = threading.Barrier(11)
    ends: list[tuple[list[str], float]] = []

    def read() -> None:
        parser, names = MessageParser(), []
        path = f"/batches/{batch_id}/events?results=true"
        with service.http.stream("GET", path) as response:
            for piece in response.iter_bytes():
                if not names:
                    streaming.wait()
                names += [message.name for message in parser.feed(piece)] or ["heading"]
        ends.append((names, time.monotonic()))

    readers = [threading.Thread(target=read) for _ in range(10)]
    for reader in readers:
        reader.start()
    streaming.wait()
    begun = time.monotonic()
    assert service.stop() == 0
    stopped_s = time.monotonic() - begun
    for reader in readers:
        reader.join()

    # No reader met an error, and none was told of an end that has not come.
    assert len(ends) == 10
    assert all("end" not in names for names, _ in ends)
    print(
        f"streams ended after {max(at for _, at in ends) - begun:.2f} s, process {stopped_s:.2f} s"
    )
    # Cut off, as an open request is after 3 s, they would have taken longer.
    assert max(at for _, at in ends) - begun < 2.5


def test_a_reader_who_takes_nothing_costs_little_and_is_left_behind(
    serve: Any, simulate: Any
) -> None:
    host, _ = simulate(slots=64)
    service = serve(host, PROMPTMILL_DRAIN_S="0.1")
    prompts = [f"{n} " + "x" * 50_000 for n in range(600)]
    batch_id = service.submit(prompts, max_concurrent=64)
    service.ended(batch_id)
    process = psutil.Process(service.process.pid)
    address = service.http.base_url
    before = process.memory_info().rss
    stuck = []
    for _ in range(5):
        connection = socket.create_connection((address.host, address.port))
        stuck.append(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = f"GET /batches/{batch_id}/events?results=true HTTP/1.1\r\nHost: localhost\r\n\r\n"
        connection.sendall(request.encode())
        assert connection.recv(12) == b"HTTP/1.1 200"

    with Promptmill(str(address)) as client:
        events = list(client.events(batch_id, results=True))
    # Each of them holds 50 results at most, of the 30 MB that there are.
    grown = process.memory_info().rss - before
    print(f"grown by {grown / 1e6:.0f} MB with {len(stuck)} stuck readers")
    assert grown < 100e6
    assert isinstance(events[0], ProgressEvent)
    assert [int(one.id) for one in events if isinstance(one, ResultEvent)] == list(
        range(1, len(prompts) + 1)
    )
    assert isinstance(events[-1], EndEvent)

    begun = time.monotonic()
    assert service.stop() == 0
    print(f"stopped after {time.monotonic() - begun:.2f} s")
    assert time.monotonic() - begun < 8
    for connection in stuck:
        connection.close()
