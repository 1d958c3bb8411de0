"""Admission of a batch: the checks inside the storing transaction."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Sequence
from typing import Final

from promptmill.domain.access.keys import ANYBODY, Caller
from promptmill.domain.batches import (
    Batch,
    BatchChanges,
    BatchDraft,
    IdempotencyKey,
    PromptDraft,
)
from promptmill.domain.errors import FieldProblem, Invalid, LimitExceeded, StorageFull
from promptmill.domain.ids import RANDOM_BITS, sortable_id
from promptmill.domain.model_names import registry_of
from promptmill.services.resources import Resources
from promptmill.settings import Settings
from promptmill.store.batches import jobs
from promptmill.store.db.database import Transaction
from promptmill.store.db.resources import Resource

KEY_USED: Final = (
    "This Idempotency-Key was used with another body; take a new key for a new request."
)

_ANY_REGISTRY: Final = "*"
_MOST_PROBLEMS: Final = 100


def id_of_key(
    tx: Transaction, resource: Resource, idempotency: IdempotencyKey | None
) -> str | None:
    """Id that an earlier request with the same key and body was given; None for the first.

    Raises:
        Invalid: The key was used with another body.
    """
    known = idempotency and resource.find_by_idempotency_key(tx, idempotency.key)
    if not (idempotency and known):
        return None
    id_, body_hash = known
    if body_hash != idempotency.body_hash:
        raise Invalid(KEY_USED)
    return id_


def batch_of_key(tx: Transaction, idempotency: IdempotencyKey | None) -> Batch | None:
    """The batch that was made by the same request before; see `id_of_key`."""
    batch_id = id_of_key(tx, jobs.BATCHES, idempotency)
    return None if batch_id is None else jobs.get(tx, batch_id)


def require_room(tx: Transaction, prompts: int, *, most_queued: int) -> int:
    """Check that the queue has room for so many prompts, and return the prompts in the queue.

    Raises:
        LimitExceeded: The queue would have more prompts than `most_queued`.
    """
    queued = jobs.prompts_without_outcome(tx)
    if queued + prompts > most_queued:
        raise LimitExceeded(
            f"The queue is full: {queued} prompts have no outcome yet and"
            f" {most_queued} may (PROMPTMILL_MAX_QUEUED_PROMPTS). Nothing was stored."
        )
    return queued


def require_disk_room(settings: Settings) -> None:
    """Check that the disk with the SQLite file has room for new work.

    The space below the setting is kept for results of running prompts. PostgreSQL's disk cannot be
    checked from here.

    Raises:
        StorageFull: The disk has less free space than the setting.
    """
    path, least = settings.sqlite_path, settings.min_free_bytes
    if path is not None and (free := shutil.disk_usage(path.parent).free) < least:
        raise StorageFull(
            f"The disk of the database has {free} bytes free, and new work is taken while it has"
            f" {least} (PROMPTMILL_MIN_FREE_BYTES). Nothing was stored; what runs goes on."
        )


def require_room_of_key(tx: Transaction, prompts: int, caller: Caller) -> None:
    """Check that so many more prompts are within the limit of the caller's key.

    Raises:
        LimitExceeded: The key would exceed its limit of prompts without an outcome.
    """
    most = caller.limits.max_queued_prompts
    if most is None:
        return
    queued = jobs.prompts_without_outcome(tx, key_id=caller.key_id)
    if queued + prompts > most:
        raise LimitExceeded(
            f"The key {caller.name} may have {most} prompts without an outcome, and has {queued}."
            " Nothing was stored."
        )


def require_allowed(draft: BatchDraft, prompts: int, caller: Caller) -> None:
    """Check that a batch of so many prompts is within the limits of the caller's key.

    Raises:
        Invalid: A field is beyond a limit.
    """
    limits = caller.limits
    problems = [
        *_priority_problems(draft.priority, caller),
        *_concurrency_problems(draft.limits.max_concurrent, caller, auto=draft.auto_concurrency),
    ]
    if limits.max_batch_prompts is not None and prompts > limits.max_batch_prompts:
        problems.append(
            FieldProblem(
                "/prompts",
                f"has {prompts} prompts; a batch of the key {caller.name} may have"
                f" {limits.max_batch_prompts}",
            )
        )
    _refuse(problems, caller)


def require_allowed_changes(changes: BatchChanges, caller: Caller) -> None:
    """Check that changes of a batch are within the limits of the caller's key.

    Raises:
        Invalid: A field is beyond a limit.
    """
    problems: list[FieldProblem] = []
    if changes.priority is not None:
        problems += _priority_problems(changes.priority, caller)
    if changes.max_concurrent is not None or changes.auto_concurrency:
        wanted, auto = changes.max_concurrent or 0, changes.auto_concurrency
        problems += _concurrency_problems(wanted, caller, auto=auto)
    _refuse(problems, caller)


def require_known_registries(
    draft: BatchDraft,
    prompts: Sequence[PromptDraft],
    known: frozenset[str],
    *,
    first_index: int = 0,
) -> None:
    """Check that the models of a batch are downloaded from known servers only.

    Ollama downloads from any server that a model's name begins with, and such a server can harm it.

    Raises:
        Invalid: A model's name begins with another server, and the batch has `auto_pull`.
    """
    if not draft.auto_pull or _ANY_REGISTRY in known:
        return
    named = [("/model", draft.model)] if not first_index else []
    named += [
        (f"/prompts/{index}/model", str(prompt.overrides["model"]))
        for index, prompt in enumerate(prompts, first_index)
        if prompt.overrides and "model" in prompt.overrides
    ]
    problems = [
        FieldProblem(
            pointer,
            f"would be downloaded from {registry[:100]}, which is not in PROMPTMILL_PULL_REGISTRIES"
            " of the service; take another model, or leave `auto_pull` out",
        )
        for pointer, model in named
        if (registry := registry_of(model)) is not None and registry not in known
    ]
    if problems:
        told = "Models are downloaded from known servers only."
        raise Invalid(told, tuple(problems[:_MOST_PROBLEMS]))


def _priority_problems(priority: int, caller: Caller) -> Sequence[FieldProblem]:
    least, most = caller.limits.min_priority, caller.limits.max_priority
    if (least is None or priority >= least) and (most is None or priority <= most):
        return ()
    allowed = " and ".join(
        f"{word} {bound}"
        for word, bound in (("at least", least), ("at most", most))
        if bound is not None
    )
    told = f"is {priority}; with the key {caller.name} it must be {allowed}"
    return (FieldProblem("/priority", told),)


def _concurrency_problems(wanted: int, caller: Caller, *, auto: bool) -> Sequence[FieldProblem]:
    most = caller.limits.max_concurrent
    if most is None or (wanted <= most and not auto):
        return ()
    shown = "`auto`" if auto else str(wanted)
    told = f"is {shown}; with the key {caller.name} give a number of at most {most}"
    return (FieldProblem("/max_concurrent", told),)


def _refuse(problems: Sequence[FieldProblem], caller: Caller) -> None:
    if problems:
        raise Invalid(f"This is beyond the limits of the key {caller.name}.", tuple(problems))


async def room_for(resources: Resources, prompts: int, caller: Caller = ANYBODY) -> int:
    """Check `require_room` and `require_room_of_key` without storing anything.

    Raises:
        LimitExceeded: The queue or the key has no room.
        StorageFull: The disk has too little free space.
    """
    require_disk_room(resources.settings)

    def look(tx: Transaction) -> int:
        require_room_of_key(tx, prompts, caller)
        return require_room(tx, prompts, most_queued=resources.settings.max_queued_prompts)

    return await resources.database.read(look)


def new_batch_id() -> str:
    """Make the id of a batch."""
    return _new_id("batch")


def new_file_id() -> str:
    """Make the id of a file, in OpenAI's form."""
    return _new_id("file").replace("_", "-")


def new_benchmark_id() -> str:
    """Make the id of a benchmark."""
    return _new_id("bench")


def _new_id(prefix: str) -> str:
    # The id's time only makes ids sort; no decision depends on it.
    return sortable_id(
        prefix, now_ms=time.time_ns() // 1_000_000, random=secrets.randbits(RANDOM_BITS)
    )
