"""Calls that several texts share: which of a job's texts go to Ollama together.

The rules to know:
- A call takes one slot, that of its first text. The others run without a host of their own, so that
  wherever slots are counted calls are counted. Each has its own lease, result and error.
- Texts share a call when their requests are equal but for the text. A call that failed is not made
  again as it was: its texts go back with `splits` raised, and such a text shares its next call with
  half as many at most, until it is alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from json import dumps
from typing import Any, Final, Self

import sqlalchemy as sa

from promptmill.domain.batches import TEXTS
from promptmill.domain.openai import MARK
from promptmill.store.db.compiled import Prepared, ids_in, json_value
from promptmill.store.db.database import Transaction
from promptmill.store.db.tables.batches import prompt, task
from promptmill.store.queue.candidates import due_tasks, runs_group
from promptmill.store.queue.leases import Lease

_CALLS_PER_CLAIM: Final = 8
_CHARS_PER_CLAIM: Final = 4_000_000
"""Most characters of the texts of one claim, which are in memory together."""


def _due(*conditions: sa.ColumnElement[bool]) -> Prepared:
    own = sa.func.coalesce(sa.cast(prompt.c.overrides, sa.Text), "")
    return Prepared(
        due_tasks(*conditions)
        .add_columns(
            task.c.splits,
            (sa.func.length(prompt.c.text) + sa.func.length(own)).label("chars"),
        )
        .join(prompt, prompt.c.id == task.c.id)
    )


_DUE = {False: _due(), True: _due(runs_group(sa.bindparam("claimed_load")))}
_OWN_FIELDS = Prepared(
    sa.select(prompt.c.id, prompt.c.overrides).where(
        ids_in(prompt.c.id, "ids"), prompt.c.overrides.is_not(None)
    )
)


@dataclass(slots=True)
class _SharedCall:
    ids: list[int] = field(default_factory=list[int])
    texts: int = 0


class SharedCalls:
    """Calls that one claim makes of a job's texts."""

    def __init__(self, calls: Sequence[Sequence[int]]) -> None:
        """Store the calls, each as the ids of its tasks."""
        self._calls = calls

    def __bool__(self) -> bool:
        return bool(self._calls)

    @classmethod
    def due(
        cls, tx: Transaction, values: Mapping[str, Any], *, grouped: bool, texts_per_call: int
    ) -> Self:
        """The texts that may start, in up to `most` calls; their tasks are locked and pending.

        `values` are those of a claim.
        """
        most = min(values["most"], _CALLS_PER_CLAIM)
        due = _DUE[grouped].run(tx, {**values, "most": most * texts_per_call}).all()
        chars, read = 0, list[sa.Row[Any]]()
        for row in due:
            chars += row.chars
            if read and chars > _CHARS_PER_CLAIM:
                break
            read.append(row)
        own = _OWN_FIELDS.run(tx, {"ids": [row.id for row in read]})
        requests = {row.id: _request(json_value(row.overrides)) for row in own}
        calls: list[_SharedCall] = []
        filling: dict[tuple[str, int], _SharedCall] = {}
        for row in read:
            request, texts = requests.get(row.id, _PLAIN)
            call = filling.get((request, row.splits))
            if call is None or call.texts + texts > texts_per_call >> row.splits:
                if len(calls) == most:
                    continue
                call = filling[request, row.splits] = _SharedCall()
                calls.append(call)
            call.ids.append(row.id)
            call.texts += texts
        return cls([call.ids for call in calls])

    def ids(self) -> dict[str, list[int]]:
        """The ids of all tasks, and those of the tasks that take a slot."""
        return {
            "ids": [each for ids in self._calls for each in ids],
            "first_ids": [ids[0] for ids in self._calls],
        }

    def joined(self, leases: Sequence[Lease]) -> list[Lease]:
        """The lease of each call, with those of its other texts."""
        by_id = {lease.task_id: lease for lease in leases}
        return [
            replace(
                by_id[first],
                others=tuple(replace(by_id[other], takes_slot=False) for other in others),
            )
            for first, *others in self._calls
        ]


_PLAIN: Final = ("", 1)


def _request(own: Mapping[str, Any]) -> tuple[str, int]:
    """Key that is equal for texts that may share a call, and the prompt's number of texts."""
    rest = {name: value for name, value in own.items() if name not in {TEXTS, MARK}}
    return dumps(rest, sort_keys=True) if rest else "", len(own.get(TEXTS) or (1,))
