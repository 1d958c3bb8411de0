"""The routes under /simulator, which a real Ollama has not: the log, the counts, and accidents."""

from __future__ import annotations

import json
from typing import cast

from promptmill.simulator.engine.state import ServerState
from promptmill.simulator.faults.access import Refusing
from promptmill.simulator.faults.refusals import Refusal
from promptmill.simulator.faults.rules import FaultRule, FaultSyntaxError
from promptmill.simulator.protocol.binding import decode
from promptmill.simulator.protocol.names import name_key
from promptmill.simulator.protocol.wire import BARE_JSON, NDJSON, Exchange


async def calls(server: ServerState, exchange: Exchange) -> None:
    """GET /simulator/calls: every call as a line of JSON, the oldest first."""
    lines = [
        json.dumps(call.as_dict()) + "\n"
        for call in server.log
        if not call.path.startswith("/simulator/")
    ]
    await exchange.answer(200, NDJSON, "".join(lines))


async def stats(server: ServerState, exchange: Exchange) -> None:
    """GET /simulator/stats: the counts and peaks since the start or the last reset."""
    found = {
        **server.log.stats(with_prompts=True),
        "loaded": list(server.scheduler.loaded),
    }
    await exchange.answer(200, BARE_JSON, json.dumps(found))


async def reset(server: ServerState, exchange: Exchange) -> None:
    """POST /simulator/reset: forget the calls and the counts."""
    server.log.reset()
    await exchange.answer(200, BARE_JSON, "{}")


async def crash(server: ServerState, exchange: Exchange) -> None:
    """POST /simulator/crash: the process of `{"model": …}`, or of every model, dies."""
    model = _fields(exchange).get("model")
    dead = server.scheduler.kill(name_key(model) if isinstance(model, str) else None)
    await exchange.answer(200, BARE_JSON, json.dumps({"killed": dead}))


async def refuse(server: ServerState, exchange: Exchange) -> None:
    """POST /simulator/refuse: the port is closed for `{"seconds": 1}`."""
    seconds = _fields(exchange).get("seconds", 1.0)
    if server.refuse_connections is None or not isinstance(seconds, int | float):
        raise Refusal(400, "the port cannot be closed, or seconds is no number")
    await exchange.answer(200, BARE_JSON, "{}")
    server.refuse_connections(float(seconds))


async def refuses(server: ServerState, exchange: Exchange) -> None:
    """POST /simulator/refuses: answer every request with `{"with": "401"}`; null ends that."""
    answer = _fields(exchange).get("with")
    try:
        server.refuses = None if answer is None else Refusing(str(answer))
    except ValueError:
        known = ", ".join(Refusing)
        raise Refusal(400, f"with: {answer!r} is none of {known}, null") from None
    await exchange.answer(200, BARE_JSON, "{}")


async def faults(server: ServerState, exchange: Exchange) -> None:
    """POST /simulator/faults: put the rules `{"rules": ["503 rate=0.1", …]}` in force instead."""
    rules = _fields(exchange).get("rules", [])
    try:
        parsed = tuple(FaultRule.parse(str(rule)) for rule in cast("list[object]", rules))
    except (FaultSyntaxError, TypeError) as error:
        raise Refusal(400, str(error)) from None
    server.faults.replace(parsed)
    await exchange.answer(200, BARE_JSON, json.dumps({"rules": len(parsed)}))


def _fields(exchange: Exchange) -> dict[str, object]:
    if not exchange.body.strip():
        return {}
    value = decode(exchange.body)
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}
