"""Faults that strike when a request arrives, before anything was looked at."""

from __future__ import annotations

import asyncio

from promptmill.simulator.engine.state import ServerState
from promptmill.simulator.faults.refusals import BUSY, TOO_LONG, Refusal
from promptmill.simulator.faults.rules import Fault, FaultKind
from promptmill.simulator.protocol.wire import TEXT, Exchange

_REFUSALS: dict[FaultKind, tuple[int, str, str]] = {
    FaultKind.BUSY: (503, BUSY, ""),
    FaultKind.TOO_LONG: (400, TOO_LONG, ""),
    FaultKind.RATE_LIMITED: (429, "too many requests", ""),
    FaultKind.UPSTREAM: (502, "the cloud model cannot be reached", ""),
    FaultKind.UNAUTHORIZED: (401, "unauthorized", "https://ollama.com/connect?name=x&key=y"),
}

_PAGE = (
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    "<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
)
"""Such a page comes from a reverse proxy in front of Ollama."""

_SIGN_IN = (
    "<!doctype html>\r\n<html>\r\n<head><title>Sign in</title></head>\r\n"
    "<body><form></form></body>\r\n</html>\r\n"
)
"""And such a one from a gateway that lets nobody through who has not signed in."""

_PAGES = {
    FaultKind.BAD_GATEWAY: (502, b"text/html", _PAGE),
    FaultKind.FORBIDDEN: (403, TEXT, "403 Forbidden"),
    FaultKind.PAGE: (200, b"text/html", _SIGN_IN),
}


async def strike_on_arrival(
    server: ServerState, exchange: Exchange, fault: Fault, model_sent: str
) -> bool:
    """Let the fault strike; whether the request has been answered by that."""
    match fault.kind:
        case FaultKind.CLOSE:
            await exchange.cut()
        case FaultKind.RESET:
            await exchange.reset()
        case FaultKind.REFUSE:
            if server.refuse_connections is not None:
                server.refuse_connections(fault.seconds or 1.0)
            await exchange.cut()
        case FaultKind.HANG:
            await _hang(fault)
        case FaultKind.MISSING:
            raise Refusal(404, f"model '{model_sent}' not found")
        case kind if kind in _REFUSALS:
            raise Refusal(*_REFUSALS[kind])
        case kind if kind in _PAGES:
            exchange.call.outcome = "refused"
            await exchange.answer(*_PAGES[kind])
            return True
        case _:
            pass
    return False


async def _hang(fault: Fault) -> None:
    """Say nothing, for a while or until the client leaves."""
    if fault.seconds is None:
        await asyncio.Event().wait()
    else:
        await asyncio.sleep(fault.seconds)
