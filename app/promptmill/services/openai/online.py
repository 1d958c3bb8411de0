"""Online calls: each takes a slot of a host as prompts of batches do, but before them.

The process that holds the ticket makes the call, under a lease that it renews. If the lease is lost
the call is aborted, because its slot may have been given to another.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from typing import Final

from promptmill.domain.access.keys import ANYBODY, Caller
from promptmill.domain.calls import Call
from promptmill.domain.errors import LimitExceeded, NotFound, Unavailable
from promptmill.domain.outcomes import Blame, ErrorCode, Failed, Outcome, Succeeded
from promptmill.ollama.answer_checks import structured_output
from promptmill.ollama.heard_answer import Piece
from promptmill.ollama.hosts import Host
from promptmill.services import admission
from promptmill.services.resources import Resources
from promptmill.services.wakeups import Wakeup
from promptmill.store.db.database import Transaction
from promptmill.store.openai import online
from promptmill.store.openai.online import Ticket

_LONGEST_WAIT_S: Final = 60.0
_LOOK_AGAIN_S: Final = 0.05
"""Seconds between two reads for a slot without a wakeup."""
_PROBE_S: Final = 2.0
_FAIL_ON: Final = (ErrorCode.INVALID_JSON, ErrorCode.SCHEMA_MISMATCH)
"""Defects that make an answer to an online call an error."""
_HELD: Final = "A benchmark has the Ollama host to itself."
_LOST: Final = Failed(
    code=ErrorCode.LEASE_LOST,
    message="The call lost its place at the host; send it again.",
    blame=Blame.ATTEMPT,
)


async def answer(
    resources: Resources,
    call: Call,
    *,
    caller: Caller = ANYBODY,
    heard: Callable[[Piece], None] | None = None,
) -> Outcome:
    """Answer a call as soon as a host has a slot; `heard` receives each piece of the answer.

    As long as no piece was received, another host is tried if one is down.

    Raises:
        NotFound: No host has the model.
        LimitExceeded: Too many calls wait, or the caller's key has too many in flight.
        Unavailable: No host can be called, or none had a slot in time.
    """
    tried: set[str] = set()
    spoken = False

    def note(piece: Piece) -> None:
        nonlocal spoken
        spoken = True
        if heard is not None:
            heard(piece)

    while True:
        host = await _chosen(resources, call.model, tried)
        async with _permitted(resources, host, call.model, caller) as ticket:
            outcome = await _run(resources, host, ticket, call, note)
        is_elsewhere = isinstance(outcome, Failed) and outcome.blame in {Blame.HOST, Blame.REFUSAL}
        tried.add(host.url)
        if not is_elsewhere or spoken or len(tried) == len(resources.hosts):
            break
    if isinstance(outcome, Succeeded) and outcome.embedding is None:
        return await asyncio.to_thread(structured_output.judge, outcome, call, fail_on=_FAIL_ON)
    return outcome


async def _chosen(resources: Resources, model: str, tried: Collection[str]) -> Host:
    """Choose a host: one that has the model loaded, else one that has it installed."""
    hosts = [host for host in resources.hosts if host.url not in tried]
    await asyncio.gather(*map(_look, hosts))
    told = [host for host in hosts if host.has_model(model) is not None]
    usable = [host for host in hosts if host.available and host.has_model(model) is not False]
    if usable:
        return min(usable, key=lambda host: (not host.has_loaded(model), host.url))
    if len(told) == len(resources.hosts):
        if any(host.has_model(model) for host in told):
            raise Unavailable("The Ollama hosts that have the model do not answer now.")
        raise NotFound(f"The model '{model[:128]}' does not exist on any Ollama host.")
    raise Unavailable("No Ollama host answers now.")


async def _look(host: Host) -> None:
    """Refresh the view of a host; a quarantined host is asked whether it is back."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_PROBE_S):
            if not host.available:
                await host.probe()
            if host.view.installed is None or host.view.loaded is None:
                await host.look(within_s=_PROBE_S, judging=False)


@asynccontextmanager
async def _permitted(
    resources: Resources, host: Host, model: str, caller: Caller
) -> AsyncGenerator[Ticket, None]:
    """Hold a slot of the host while the block runs."""
    admission.require_disk_room(resources.settings)
    if resources.online.calls >= resources.settings.online_queue:
        raise LimitExceeded(
            f"{resources.online.calls} calls wait already, and no more may"
            " (PROMPTMILL_ONLINE_QUEUE)."
        )
    resources.online.calls += 1
    ticket = None
    try:
        try:
            ticket = await _entered(resources, host, model, caller)
            await _slot(resources, ticket)
        finally:
            resources.online.calls -= 1
        yield ticket
    finally:
        if ticket is not None:
            await _leave(resources, ticket)


async def _entered(resources: Resources, host: Host, model: str, caller: Caller) -> Ticket:
    asking = asyncio.ensure_future(
        resources.database.write(
            _ask,
            caller,
            url=host.url,
            machine=host.machine,
            slots=host.spec.slots,
            model=model,
            job_id=admission.new_batch_id(),
            owner=f"online-{secrets.token_hex(8)}",
            lease_ms=_lease_ms(resources),
        )
    )
    try:
        ticket = await asyncio.shield(asking)
    except asyncio.CancelledError:
        # A write that has begun is finished even if the request is cancelled.
        if (late := await asking) is not None:
            await _leave(resources, late)
        raise
    if ticket is None:
        raise Unavailable(_HELD)
    return ticket


def _ask(
    tx: Transaction,
    caller: Caller,
    *,
    url: str,
    machine: str | None,
    slots: int | None,
    model: str,
    job_id: str,
    owner: str,
    lease_ms: int,
) -> Ticket | None:
    _require_room_of_key(tx, caller)
    return online.ask(
        tx,
        url=url,
        machine=machine,
        slots=slots,
        model=model,
        job_id=job_id,
        owner=owner,
        lease_ms=lease_ms,
        key_id=caller.key_id,
    )


def _require_room_of_key(tx: Transaction, caller: Caller) -> None:
    """Check that one more call is within the limits of the caller's key.

    The calls of a key in flight count as one batch: they are what its client runs at once.

    Raises:
        LimitExceeded: The key's limit is reached.
    """
    most = caller.limits.max_concurrent
    if most is None and caller.limits.max_queued_prompts is None:
        return
    calls = online.calls_of_key(tx, caller.key_id)
    admission.require_room_of_key(tx, calls + 1, caller)
    if most is not None and calls >= most:
        raise LimitExceeded(
            f"The key {caller.name} may have {most} calls under way at once, and has {calls}."
        )


async def _leave(resources: Resources, ticket: Ticket) -> None:
    # If the database is away, the lease expires.
    with suppress(Unavailable):
        await asyncio.shield(resources.database.write(online.leave, ticket))
    resources.signals.spread(Wakeup.WORK)


async def _slot(resources: Resources, ticket: Ticket) -> None:
    """Wait until the ticket has become a call."""
    database = resources.database
    deadline = time.monotonic() + _LONGEST_WAIT_S
    keep_at = time.monotonic() + resources.settings.heartbeat_s
    while True:
        changed = resources.signals.job_changed.listen()
        has_room = await database.read(online.may_start, ticket)
        if has_room is None:
            raise Unavailable(_HELD)
        if has_room and await database.write(online.start, ticket):
            return
        now = time.monotonic()
        if now >= deadline:
            raise Unavailable("No slot of the Ollama host became free in time.")
        if now >= keep_at:
            keep_at = now + resources.settings.heartbeat_s
            if not await database.write(online.keep, ticket, lease_ms=_lease_ms(resources)):
                raise Unavailable(_LOST.message)
        await changed.wait(_LOOK_AGAIN_S)


async def _run(
    resources: Resources, host: Host, ticket: Ticket, call: Call, heard: Callable[[Piece], None]
) -> Outcome:
    """Make the call while its lease holds."""
    running = asyncio.create_task(host.run(call, heard=heard), name="online-call")
    keeping = asyncio.create_task(_kept(resources, ticket), name="online-lease")
    try:
        await asyncio.wait({running, keeping}, return_when=asyncio.FIRST_COMPLETED)
        return running.result() if running.done() else _LOST
    finally:
        for task in (running, keeping):
            task.cancel()
        await asyncio.wait({running, keeping})


async def _kept(resources: Resources, ticket: Ticket) -> None:
    """Renew the lease; return when it is lost."""
    while True:
        await asyncio.sleep(resources.settings.heartbeat_s)
        # A database that is away does not end the call: the next renewal may be in time.
        with suppress(Unavailable):
            if not await resources.database.write(
                online.keep, ticket, lease_ms=_lease_ms(resources)
            ):
                return


def _lease_ms(resources: Resources) -> int:
    return round(resources.settings.lease_s * 1000)
