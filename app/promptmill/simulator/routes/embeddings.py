"""The routes /api/embed and /api/embeddings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from promptmill.simulator.engine.catalog import StoredModel
from promptmill.simulator.engine.runner import Runner
from promptmill.simulator.engine.state import ServerState
from promptmill.simulator.engine.text import count_tokens
from promptmill.simulator.engine.vectors import embedding
from promptmill.simulator.faults.refusals import (
    LOAD_OOM,
    RUNNER_GONE,
    RUNNER_LOST,
    RUNNER_STOPPED,
    TOO_LONG,
    Refusal,
    RunnerDiedError,
)
from promptmill.simulator.faults.rules import Fault, FaultKind
from promptmill.simulator.faults.strikes import strike_on_arrival
from promptmill.simulator.protocol import binding
from promptmill.simulator.protocol.binding import Fields, Reader, bind
from promptmill.simulator.protocol.names import parse_name
from promptmill.simulator.protocol.options import Options
from promptmill.simulator.protocol.wire import Exchange
from promptmill.simulator.routes.text import options_of

_FIELDS: dict[str, Reader] = {
    "model": binding.text,
    "input": binding.anything,
    "truncate": binding.boolean,
    "dimensions": binding.integer,
    "keep_alive": binding.duration,
    "options": binding.mapping,
}

_LEGACY_FIELDS: dict[str, Reader] = {
    "model": binding.text,
    "prompt": binding.text,
    "keep_alive": binding.duration,
    "options": binding.mapping,
}


@dataclass(slots=True)
class Embedded:
    """The vectors of a request, and what they cost."""

    vectors: list[list[float]]
    tokens: int = 0
    load_ns: int = 0


async def embed(server: ServerState, exchange: Exchange) -> None:
    """POST /api/embed."""
    started_ns = time.perf_counter_ns()
    fields = bind(exchange.body, "EmbedRequest", _FIELDS)
    sent = cast("str", fields.get("model", ""))
    done = await embed_fields(server, exchange, fields, started_ns=started_ns)
    if done is None:
        return
    answer: dict[str, object] = {"model": sent, "embeddings": done.vectors}
    if done.vectors:
        answer["total_duration"] = time.perf_counter_ns() - started_ns
        answer["load_duration"] = done.load_ns
        answer["prompt_eval_count"] = done.tokens
    await exchange.json(answer)


async def embeddings(server: ServerState, exchange: Exchange) -> None:
    """POST /api/embeddings, the older route for one text."""
    started_ns = time.perf_counter_ns()
    fields = bind(exchange.body, "EmbeddingRequest", _LEGACY_FIELDS)
    sent = cast("str", fields.get("model", ""))
    if parse_name(sent) is None:
        raise Refusal(400, "model is required")
    prompt = fields.pop("prompt", "")
    fields["input"] = [prompt] if prompt else []
    done = await embed_fields(server, exchange, fields, started_ns=started_ns)
    if done is not None:
        await exchange.json({"embedding": done.vectors[0] if done.vectors else []})


async def embed_fields(
    server: ServerState, exchange: Exchange, fields: Fields, *, started_ns: int
) -> Embedded | None:
    """Embed what the fields of /api/embed ask for; None if a fault has answered instead."""
    sent = cast("str", fields.get("model", ""))
    texts = _texts(fields.get("input"))
    keep_alive_s = cast("float | None", fields.get("keep_alive"))
    fault = server.announce(
        exchange, sent, "\n".join(texts), stream=False, keep_alive_s=keep_alive_s
    )
    if fault is not None and await strike_on_arrival(server, exchange, fault, sent):
        return None
    model = _require(server, sent)
    options = options_of(fields, server, model)
    exchange.call.num_ctx = options.runner.num_ctx
    runner = await server.scheduler.lease(
        model.spec,
        model.key,
        options.runner,
        keep_alive_s=keep_alive_s,
        failure=LOAD_OOM if fault is not None and fault.kind is FaultKind.OOM else None,
        anew=fault is not None and fault.kind is FaultKind.RELOAD,
    )
    load_ns = max(1, time.perf_counter_ns() - started_ns)
    try:
        tokens = _size(texts, options, cut=bool(fields.get("truncate", True)))
        if texts:
            speed = runner.spec.speed
            seconds = speed.first_token_s(tokens) + speed.text_s * len(texts)
            await _work(server, exchange, runner, seconds, fault)
    finally:
        server.scheduler.release(runner)
    dimensions = cast("int", fields.get("dimensions", 0))
    length = model.spec.embedding_length
    vectors = [embedding(model.key, text, length, dimensions) for text in texts]
    return Embedded(vectors, tokens, load_ns)


def _texts(wanted: object) -> Sequence[str]:
    """The texts of `input`. An empty one alone is none; in a list it is embedded."""
    if wanted is None or wanted == "":
        return []
    if isinstance(wanted, str):
        return [wanted]
    if isinstance(wanted, list):
        texts = cast("list[object]", wanted)
        if all(isinstance(text, str) for text in texts):
            return cast("list[str]", texts)
    raise Refusal(400, "invalid input type")


def _require(server: ServerState, sent: str) -> StoredModel:
    """The model; this route has a text of its own for a missing one."""
    try:
        return server.catalog.require(sent)
    except Refusal as refusal:
        if refusal.status == 404 and sent.strip():  # noqa: PLR2004  # Not Found
            text = f'model "{sent}" not found, try pulling it first'
            raise Refusal(404, text) from None
        raise


def _size(texts: Sequence[str], options: Options, *, cut: bool) -> int:
    """Tokens of all texts, each with one for its beginning and cut to the window."""
    window = options.runner.num_ctx
    sizes = [count_tokens(text) + 1 for text in texts]
    if not cut and any(size > window for size in sizes):
        raise Refusal(400, TOO_LONG)
    return sum(min(size, window) for size in sizes)


async def _work(
    server: ServerState, exchange: Exchange, runner: Runner, seconds: float, fault: Fault | None
) -> None:
    """Hold a slot for as long as the texts take."""
    try:
        slot = await runner.take_slot()
    except RunnerDiedError:
        raise Refusal(500, RUNNER_GONE) from None
    server.log.take_slot(exchange.call)
    try:
        if fault is not None and fault.kind is FaultKind.SLOW_START:
            seconds += fault.seconds or 0.0
        await runner.pause(seconds)
        if fault is not None:
            await _strike(server, exchange, runner, fault)
    except RunnerDiedError:
        raise Refusal(500, RUNNER_LOST) from None
    finally:
        runner.leave_slot(slot)
        server.log.leave_slot(exchange.call)


async def _strike(server: ServerState, exchange: Exchange, runner: Runner, fault: Fault) -> None:
    """The faults in mid-answer that make sense for vectors; the others do nothing here."""
    match fault.kind:
        case FaultKind.STOPPED:
            raise Refusal(500, RUNNER_STOPPED)
        case FaultKind.CUT:
            await exchange.cut()
        case FaultKind.STALL:
            await runner.pause(fault.seconds)
        case FaultKind.ERROR:
            raise RunnerDiedError
        case FaultKind.CRASH | FaultKind.CRASH_ALL:
            server.scheduler.kill(runner.key if fault.kind is FaultKind.CRASH else None)
            raise RunnerDiedError
        case _:
            return
