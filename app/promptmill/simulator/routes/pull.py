"""The route /api/pull: a download that only takes time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from hashlib import sha256
from typing import cast

from promptmill.simulator.engine.state import ServerState
from promptmill.simulator.faults.refusals import Refusal
from promptmill.simulator.faults.rules import FaultKind
from promptmill.simulator.protocol import binding
from promptmill.simulator.protocol.binding import bind
from promptmill.simulator.protocol.gojson import encode
from promptmill.simulator.protocol.names import parse_name
from promptmill.simulator.protocol.wire import BARE_JSON, NDJSON, Exchange
from promptmill.simulator.settings import ModelSpec

UNKNOWN = "pull model manifest: file does not exist"
"""The registry has no such model."""

BROKEN = "max retries exceeded: unexpected EOF"
"""The download was given up."""

_STEPS = 10
"""Lines of progress of one layer."""


async def pull(server: ServerState, exchange: Exchange) -> None:
    """POST /api/pull."""
    fields = bind(
        exchange.body,
        "PullRequest",
        {
            "model": binding.text,
            "name": binding.text,
            "insecure": binding.boolean,
            "stream": binding.boolean,
        },
    )
    sent = cast("str", fields.get("model") or fields.get("name") or "")
    stream = cast("bool", fields.get("stream", True))
    exchange.call.stream = stream
    name = parse_name(sent)
    if name is None:
        raise Refusal(400, "invalid model name")
    exchange.call.model = name.key
    spec = server.catalog.in_registry(name)
    fault = server.faults.for_pull(name.key)
    failure = UNKNOWN if spec is None else ""
    if fault is not None:
        exchange.call.fault = FaultKind.PULL_ERROR.value
        failure = BROKEN
    if stream:
        await exchange.start(200, NDJSON)
        await exchange.write(_line({"status": "pulling manifest"}))
    if spec is None or failure:
        await _fail(exchange, failure, stream=stream)
        return
    already = server.catalog.find(name) is not None
    pause_s = 0.0 if already else server.settings.pull_s / _STEPS
    for line in _progress(spec, already=already):
        if stream:
            await exchange.write(_line(line))
        if pause_s:
            await asyncio.sleep(pause_s)
    server.catalog.store(sent, spec, time.time_ns())
    if stream:
        ends = ("verifying sha256 digest", "writing manifest", "success")
        await exchange.finish("".join(_line({"status": text}) for text in ends))
    else:
        await exchange.answer(200, BARE_JSON, '{"status":"success"}')


async def _fail(exchange: Exchange, failure: str, *, stream: bool) -> None:
    if stream:
        exchange.call.outcome = "error_line"
        await exchange.finish(_line({"error": failure}))
    else:
        exchange.call.outcome = "refused"
        await exchange.answer(500, BARE_JSON, encode({"error": failure}))


def _progress(spec: ModelSpec, *, already: bool) -> Iterator[dict[str, object]]:
    """The lines about the one layer; a layer that is already there has one line."""
    digest = sha256(spec.name.encode()).hexdigest()
    line: dict[str, object] = {
        "status": f"pulling {digest[:12]}",
        "digest": f"sha256:{digest}",
        "total": spec.size,
    }
    for step in range(_STEPS if already else 0, _STEPS + 1):
        completed = spec.size * step // _STEPS
        yield {**line, "completed": completed} if completed else line


def _line(value: dict[str, object]) -> str:
    return encode(value) + "\n"
