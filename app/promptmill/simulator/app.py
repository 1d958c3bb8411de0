"""The simulator's ASGI application: routes, Host and Origin checks, log.

It uses no framework, because throughput is measured against it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from promptmill.simulator.engine.calls import CallLog, Tally
from promptmill.simulator.engine.state import ServerState
from promptmill.simulator.faults.access import Refusing, allow_origin, host_is_welcome
from promptmill.simulator.faults.refusals import Refusal
from promptmill.simulator.protocol.wire import TEXT, Connection, Exchange, Receive, Scope, Send
from promptmill.simulator.routes.table import ROUTES, Run, allowed_methods
from promptmill.simulator.settings import SimulatorSettings


class Simulator:
    """A simulated Ollama server; an ASGI 3 application."""

    def __init__(self, settings: SimulatorSettings | None = None) -> None:
        self.state = ServerState(settings or SimulatorSettings())

    @property
    def calls(self) -> CallLog:
        """Every call so far; iterate over it."""
        return self.state.log

    def stats(self, *, with_prompts: bool = False) -> dict[str, Any]:
        """Counts that GET /simulator/stats shows."""
        return self.state.log.stats(with_prompts=with_prompts)

    async def until(self, met: Callable[[Tally], bool]) -> None:
        """Wait until the counts are as wanted: `until(lambda tally: tally.in_flight == 3)`.

        Only in the event loop in which the simulator runs.
        """
        await self.state.log.until(met)

    def reset(self) -> None:
        """Forget the calls and the counts; loaded models stay loaded."""
        self.state.log.reset()

    def crash(self, model: str | None = None) -> list[str]:
        """Let the processes of one model (its full name, `tiny:latest`), or of all, die."""
        return self.state.scheduler.kill(model)

    async def close(self) -> None:
        """Unload everything and close the log."""
        await self.state.scheduler.close()
        self.state.log.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        call = self.state.log.arrive(scope["method"], scope["path"])
        connection = cast("Connection | None", scope.get("state", {}).get("connection"))
        exchange = Exchange(call, scope["headers"], receive, send, connection)
        watch: asyncio.Task[None] | None = None
        task = cast("asyncio.Task[None]", asyncio.current_task())
        try:
            await exchange.read()
            if connection is not None:
                connection.task = task
            else:
                watch = asyncio.create_task(_cancel_on_departure(exchange, task))
            await self._answer(exchange)
            call.outcome = call.outcome or "answered"
        except asyncio.CancelledError:
            # The client has gone, or the simulator broke the connection on purpose.
            call.outcome = call.outcome or "client_left"
            if task.cancelling():
                task.uncancel()
        finally:
            if watch is not None:
                watch.cancel()
            if connection is not None:
                connection.task = None
            self.state.log.end(call)

    async def _answer(self, exchange: Exchange) -> None:
        call = exchange.call
        path, method = call.path, call.method
        if not self._admit(exchange):
            call.outcome = "refused"
            await exchange.answer(403, b"", "")
            return
        if self.state.refuses is not None and not path.startswith("/simulator/"):
            call.outcome = "refused"
            await _turn_away(exchange, self.state.refuses)
            return
        methods = ROUTES.get(path)
        if methods is None:
            call.outcome = "refused"
            await exchange.answer(404, TEXT, "404 page not found")
            return
        run = methods.get(method)
        if run is None:
            call.outcome = "refused"
            exchange.add_header(b"allow", allowed_methods(methods))
            await exchange.answer(405, TEXT, "405 method not allowed")
            return
        await self._run(run, exchange)

    async def _run(self, run: Run, exchange: Exchange) -> None:
        try:
            await run(self.state, exchange)
        except Refusal as refusal:
            await exchange.refuse(refusal, streaming=exchange.call.stream is True)

    def _admit(self, exchange: Exchange) -> bool:
        """The checks of the Host and Origin headers."""
        for name, value in exchange.headers:
            if name == b"host":
                if self.state.check_host and not host_is_welcome(value):
                    return False
            elif name == b"origin":
                if not allow_origin(value):
                    return False
                exchange.add_header(b"access-control-allow-origin", value)
                exchange.add_header(b"vary", b"Origin")
        return True

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self.close()
                await send({"type": "lifespan.shutdown.complete"})
                return
            await send({"type": "lifespan.startup.complete"})


async def _turn_away(exchange: Exchange, refusing: Refusing) -> None:
    match refusing:
        case Refusing.REDIRECT:
            exchange.add_header(b"location", b"/sign-in")
            await exchange.answer(302, TEXT, "")
        case Refusing.PAGE:
            await exchange.answer(200, b"text/html", "<title>Welcome</title>\n<p>It works.</p>\n")
        case _:
            await exchange.answer(int(refusing.value), TEXT, "")


async def _cancel_on_departure(exchange: Exchange, task: asyncio.Task[None]) -> None:
    """Under a foreign ASGI server: cancel the answer when the client goes."""
    await exchange.wait_for_departure()
    if not exchange.gone:
        task.cancel()
