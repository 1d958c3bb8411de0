"""The load and prefix groups of a job's prompts.

The rule to know: a task's group says both. Prompts that begin alike are a group of their own
(`model_group.load_key` names the one that they are a part of), so that a claim can keep them
together; what a host takes up is always the whole one, `job_group.load_key`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain
from typing import Any

import sqlalchemy as sa

from promptmill.domain.batches import BatchKind, PromptDraft
from promptmill.domain.scheduling.load_groups import ANY_GROUP, group_name
from promptmill.domain.scheduling.prefix_groups import FEWEST_ALIKE, beginning_of, fingerprint_of
from promptmill.store.db.database import Transaction
from promptmill.store.db.tables.batches import job, job_group, model_group

ANY_KEY = 0
"""Key of the group of all work without grouping."""
_MOST_GROUPS = 64
"""Most groups of a job, because a claim reads each."""
_Kind = tuple[str, str | None]
"""Load group of prompts, and their beginning if they form a prefix group."""


def groups_of(
    tx: Transaction, job_key: int, prompts: Sequence[PromptDraft]
) -> tuple[int, Mapping[int, list[int]]]:
    """Find the most common group of a job's prompts, and the places of prompts of other groups.

    New groups, and new groups of the job, are stored. An empty list belongs to the default group.
    """
    if not prompts:
        if ANY_KEY not in _known(tx, job_key):
            _note(tx, job_key, {ANY_KEY: ANY_KEY})
        return ANY_KEY, {}
    known = _known(tx, job_key)
    of_job = sa.select(job.c.kind, job.c.model, job.c.parameters).where(job.c.key == job_key)
    row = tx.execute(of_job).one()
    usual = group_name(row.model, row.parameters)
    # Prefixes of texts to embed are not cached by Ollama.
    beginning = _no_beginning if row.kind == BatchKind.EMBED else beginning_of
    kinds = _kinds(prompts, usual, row.model, row.parameters, beginning)
    rest = len(prompts) - sum(map(len, kinds.values()))
    names = [*(name for name, _ in kinds), *([usual] if rest else [])]
    # In the order of their names: two first batches with the same new models, one of which inserts
    # them the other way round, would wait for each other.
    loads = {name: key_of(tx, name) for name in sorted(set(names))}
    load_of = {loads[usual]: loads[usual]} if rest else {}
    groups: dict[int, list[int]] = {}
    largest_first = sorted(kinds.items(), key=lambda kind: -len(kind[1]))
    in_order = sorted(largest_first[:_MOST_GROUPS], key=lambda kind: (kind[0][0], kind[0][1] or ""))
    for (name, beginning), places in (*in_order, *largest_first[_MOST_GROUPS:]):
        key = None
        if beginning is not None and len(places) >= FEWEST_ALIKE:
            alike = f"{name} #{fingerprint_of(beginning)}"
            room = len({*known, *load_of}) < _MOST_GROUPS
            key = _alike_key(tx, alike, loads[name], made_if_new=room, known=known)
        key = loads[name] if key is None else key
        load_of[key] = loads[name]
        groups.setdefault(key, []).extend(places)
    _note(tx, job_key, {key: load for key, load in load_of.items() if key not in known})
    if rest:
        usual_key = loads[usual]
        if rest + len(groups.get(usual_key, ())) >= max(map(len, groups.values()), default=0):
            groups.pop(usual_key, None)
            return usual_key, groups
        in_groups = set(chain.from_iterable(groups.values()))
        own = groups.setdefault(usual_key, [])
        own.extend(place for place in range(len(prompts)) if place not in in_groups)
    most = max(groups, key=lambda key: len(groups[key]))
    del groups[most]
    return most, groups


def _known(tx: Transaction, job_key: int) -> set[int]:
    rows = tx.execute(sa.select(job_group.c.group_key).where(job_group.c.job_key == job_key))
    return set(rows.scalars())


def _kinds(
    prompts: Sequence[PromptDraft],
    usual: str,
    model: str,
    parameters: Mapping[str, Any],
    beginning_of: Callable[[PromptDraft, Mapping[str, Any]], str | None],
) -> dict[_Kind, list[int]]:
    """Indexes of prompts by load group and beginning, without the most common kind."""
    kinds: dict[_Kind, list[int]] = {}
    for place, draft in enumerate(prompts):
        own, name = draft.overrides, usual
        if own and ("model" in own or "options" in own or "shift" in own):
            name = group_name(own.get("model") or model, {**parameters, **own})
        beginning = beginning_of(draft, parameters)
        if beginning is not None or name is not usual:
            kinds.setdefault((name, beginning), []).append(place)
    return kinds


def _no_beginning(draft: PromptDraft, parameters: Mapping[str, Any]) -> None:
    del draft, parameters


def key_of(tx: Transaction, name: str) -> int:
    """The key of a load group, which is inserted if it is new."""
    if name == ANY_GROUP:
        return ANY_KEY
    key = _found(tx, name)
    return _made(tx, name, load_key=None) if key is None else key


def _alike_key(
    tx: Transaction, name: str, load_key: int, *, made_if_new: bool, known: Collection[int]
) -> int | None:
    """The key of a prefix group; None if the job has enough groups."""
    key = _found(tx, name)
    if not made_if_new and key not in known:
        return None
    return _made(tx, name, load_key=load_key) if key is None else key


def _found(tx: Transaction, name: str) -> int | None:
    return tx.execute(sa.select(model_group.c.key).where(model_group.c.name == name)).scalar()


def _made(tx: Transaction, name: str, *, load_key: int | None) -> int:
    statement = sa.insert(model_group).values(name=name, load_key=load_key)
    return int(tx.execute(statement.returning(model_group.c.key)).scalar_one())


def _note(tx: Transaction, job_key: int, load_of: Mapping[int, int]) -> None:
    new = [
        {"job_key": job_key, "group_key": key, "load_key": load} for key, load in load_of.items()
    ]
    if new:
        tx.execute(sa.insert(job_group), new)


def forget_groups(tx: Transaction, job_key: int) -> None:
    """Remove the groups of a deleted job.

    Of the groups themselves only prefix groups disappear with their last job: there may be as many
    as documents, whereas models are few.
    """
    own = list(_known(tx, job_key))
    tx.execute(sa.delete(job_group).where(job_group.c.job_key == job_key))
    tx.execute(
        sa.delete(model_group).where(
            model_group.c.key.in_(own),
            model_group.c.load_key.is_not(None),
            model_group.c.key.not_in(sa.select(job_group.c.group_key)),
        )
    )
