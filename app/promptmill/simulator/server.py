"""Running a simulator on a port: in this event loop, or in a thread of its own.

uvicorn's HTTP protocol is used without uvicorn's server, because a simulated Ollama has to do
what uvicorn's server must not: drop every connection at once when it stops (as a stopped Ollama
does, recordings `server_stopped`), cut single connections, and close its port for a while.
No signal is touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import struct
import threading
from collections.abc import AsyncGenerator, Generator
from email.utils import formatdate
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState as UvicornState

from promptmill.simulator.app import Simulator
from promptmill.simulator.settings import SimulatorSettings

_BACKLOG = 4096
"""Connections that may wait to be accepted: more than any test opens at once."""


class _Connection(HttpToolsProtocol):
    """One TCP connection; it tells the running answer when the client goes."""

    task: asyncio.Task[None] | None = None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast("dict[str, Any]", self.scope)["state"]["connection"] = self

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.task is not None:
            self.task.cancel()

    def close(self) -> None:
        """Close in order, after what is already written."""
        self.transport.close()

    def reset(self) -> None:
        """Close with a TCP reset: lingering for no time discards what is unsent."""
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class Listener:
    """A simulator on a port."""

    def __init__(self, simulator: Simulator, host: str, port: int) -> None:
        self._simulator = simulator
        self._host = host
        self._port = port
        self._config = uvicorn.Config(
            simulator,
            http=_Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=75,
        )
        self._state = UvicornState()
        self._server: asyncio.Server | None = None
        self._clock: asyncio.TimerHandle | None = None
        self._reopening: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The base URL."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def open(self) -> None:
        """Listen; with port 0 a free one is chosen and kept."""
        if not self._config.loaded:
            self._config.load()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(config=self._config, server_state=self._state, app_state={}),
            self._host,
            self._port,
            backlog=_BACKLOG,
        )
        self._port = self._server.sockets[0].getsockname()[1]
        self._simulator.state.refuse_connections = self._refuse
        self._tick()

    async def close(self) -> None:
        """Stop like a stopped Ollama: every connection is dropped in the middle of its answer."""
        if self._reopening is not None:
            self._reopening.cancel()
        if self._clock is not None:
            self._clock.cancel()
        self._shut()
        tasks = tuple(self._state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # One turn of the loop, in which the transports close their sockets.
        await asyncio.sleep(0)

    def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in tuple(self._state.connections):
            connection.transport.close()

    def _refuse(self, seconds: float) -> None:
        """Refuse connections for so many seconds."""
        if self._reopening is None or self._reopening.done():
            self._reopening = asyncio.create_task(self._reopen(seconds), name="closed port")

    async def _reopen(self, seconds: float) -> None:
        self._shut()
        await asyncio.sleep(seconds)
        await self.open()

    def _tick(self) -> None:
        """Keep the Date header right, as uvicorn's own server would."""
        if self._clock is not None:
            self._clock.cancel()
        self._state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        self._clock = asyncio.get_running_loop().call_later(1.0, self._tick)


def _simulator_for(host: str, what: Simulator | SimulatorSettings | None) -> Simulator:
    simulator = what if isinstance(what, Simulator) else Simulator(what)
    with contextlib.suppress(ValueError):
        # Ollama does not check the Host header when it listens on more than the loopback.
        simulator.state.check_host &= ipaddress.ip_address(host).is_loopback
    return simulator


@contextlib.asynccontextmanager
async def running(
    what: Simulator | SimulatorSettings | None = None, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncGenerator[str]:
    """Run a simulator in this event loop; gives its base URL.

    Give a `Simulator` of your own to read its calls afterwards; it is closed at the end.
    """
    simulator = _simulator_for(host, what)
    listener = Listener(simulator, host, port)
    await listener.open()
    try:
        yield listener.url
    finally:
        await listener.close()
        await simulator.close()


@contextlib.contextmanager
def running_in_thread(
    what: Simulator | SimulatorSettings | None = None, *, host: str = "127.0.0.1", port: int = 0
) -> Generator[str]:
    """Run a simulator in a thread with an event loop of its own; gives its base URL."""
    ready = threading.Event()
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    found: list[str] = []
    failed: list[BaseException] = []

    async def live() -> None:
        async with running(what, host=host, port=port) as url:
            stopping = asyncio.Event()
            stop.append((asyncio.get_running_loop(), stopping))
            found.append(url)
            ready.set()
            await stopping.wait()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(live())
        except BaseException as error:  # noqa: BLE001  # handed to the caller below
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="simulated Ollama", daemon=True)
    thread.start()
    ready.wait()
    if failed:
        raise failed[0]
    try:
        yield found[0]
    finally:
        loop, stopping = stop[0]
        loop.call_soon_threadsafe(stopping.set)
        thread.join()


def new_event_loop() -> asyncio.AbstractEventLoop:
    """The fastest event loop there is."""
    try:
        import uvloop  # noqa: PLC0415  # absent on some systems
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
