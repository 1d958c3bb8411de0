"""Faults that strike when a request arrives, before it is examined."""

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

_TITLES = {
    FaultKind.BAD_GATEWAY: "502 Bad Gateway",
    FaultKind.PROXY_BUSY: "503 Service Temporarily Unavailable",
    FaultKind.PROXY_LATE: "504 Gateway Time-out",
    FaultKind.CLOUDFLARE_LATE: "524: A timeout occurred",
}
"""Pages that a reverse proxy in front of Ollama sends."""


def _page(title: str) -> str:
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n"
        f"<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
    )


_SIGN_IN = (
    "<!doctype html>\r\n<html>\r\n<head><title>Sign in</title></head>\r\n"
    "<body><form></form></body>\r\n</html>\r\n"
)
"""Page of a gateway that requires a sign-in."""

_PAGES = {
    **{kind: (int(title[:3]), b"text/html", _page(title)) for kind, title in _TITLES.items()},
    FaultKind.FORBIDDEN: (403, TEXT, "403 Forbidden"),
    FaultKind.PAGE: (200, b"text/html", _SIGN_IN),
}


async def strike_on_arrival(
    server: ServerState, exchange: Exchange, fault: Fault, model_sent: str
) -> bool:
    """Let the fault strike; return whether the request was answered by it."""
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
            if kind is FaultKind.RATE_LIMITED and fault.seconds is not None:
                exchange.add_header(b"retry-after", f"{fault.seconds:.0f}".encode())
            raise Refusal(*_REFUSALS[kind])
        case kind if kind in _PAGES:
            await asyncio.sleep(fault.seconds or 0.0)
            exchange.call.outcome = "refused"
            await exchange.answer(*_PAGES[kind])
            return True
        case _:
            pass
    return False


async def _hang(fault: Fault) -> None:
    """Send nothing, for a while or until the client leaves."""
    if fault.seconds is None:
        await asyncio.Event().wait()
    else:
        await asyncio.sleep(fault.seconds)
