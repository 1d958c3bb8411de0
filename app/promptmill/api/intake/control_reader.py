"""From the bodies of `PATCH /batches/{id}` and `/retry` to what they ask for, as strict as a batch.

Everything that is wrong is named at once; nothing is converted or corrected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from pydantic import ValidationError

from promptmill.api.errors.field_errors import describe
from promptmill.api.errors.violations import Faults
from promptmill.api.intake.json_body import members_of, null_faults
from promptmill.api.intake.text_rules import Path, faults_in
from promptmill.api.schemas.control import HIGHEST_INDEX, MOST_INDEXES, BatchUpdate, RetryRequest
from promptmill.api.schemas.requests import BatchRequest
from promptmill.api.schemas.steering import AUTO
from promptmill.api.schemas.strict import RequestModel
from promptmill.domain.batches import BatchChanges

M = TypeVar("M", bound=RequestModel)

_LONGEST_TEXT_BYTES: Final = 4096
"""More than any text in these bodies may have."""
_CHANGEABLE: Final = tuple(BatchUpdate.model_fields)
_FIXED: Final = frozenset(BatchRequest.model_fields) - frozenset(_CHANGEABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryWish:
    """Which prompts of a batch a client wants to run again."""

    indexes: Sequence[int] | None = None
    """None: all that had no success."""
    expires_in_s: float | None = None
    """The new deadline, from now; None: the old one, unless it has passed."""


def read_changes(body: bytes) -> BatchChanges:
    """What to change of a batch.

    Raises:
        MalformedJson: The body is no JSON.
        Invalid: Every field that is wrong, or that there is none.
    """
    faults = Faults()
    given = members_of(body, faults)
    for name in sorted(given.keys() & _FIXED):
        del given[name]
        faults.add((name,), f"cannot be changed any more; only {_names(_CHANGEABLE)} can")
    faults.extend(null_faults(given, "leave the field out to keep its value"))
    update = _validated(BatchUpdate, given, faults)
    if not (given or faults):
        faults.add((), f"must have at least one of {_names(_CHANGEABLE)}")
    faults.raise_if_any()
    auto = update.max_concurrent == AUTO
    return BatchChanges(
        max_concurrent=None if auto else update.max_concurrent,
        auto_concurrency=auto,
        rate_limit_delay_s=update.rate_limit_delay,
        priority=update.priority,
        metadata=update.metadata,
    )


def read_retry(body: bytes) -> RetryWish:
    """Which prompts to run again; no body at all means all that had no success.

    Raises:
        MalformedJson: The body is no JSON.
        Invalid: Every field and index that is wrong.
    """
    if not body:
        return RetryWish()
    faults = Faults()
    given = members_of(body, faults)
    faults.extend(null_faults(given, "leave the field out"))
    # Checked by hand: there may be far more of them than of anything that a model checks.
    indexes = given.pop("indexes", None)
    if indexes is not None:
        faults.extend(_index_faults(indexes))
    wish = _validated(RetryRequest, given, faults)
    faults.raise_if_any()
    return RetryWish(indexes=indexes, expires_in_s=wish.expires_in_s)


def _validated(model: type[M], given: dict[str, Any], faults: Faults) -> M:
    """The model of what is sound in the members; the rest is noted."""
    sound = {
        name: value
        for name, value in given.items()
        if value is not None
        and not faults.extend(faults_in({name: value}, (), max_text_bytes=_LONGEST_TEXT_BYTES))
    }
    try:
        return model.model_validate(sound)
    except ValidationError as error:
        faults.extend(describe(error, model))
        return model()


def _index_faults(value: object) -> Iterator[tuple[Path, str]]:
    if not isinstance(value, list):
        yield ("indexes",), "must be a list of whole numbers"
        return
    indexes = cast("list[object]", value)
    if not indexes:
        yield ("indexes",), "must not be empty; leave it out to run all again that had no success"
    if len(indexes) > MOST_INDEXES:
        yield ("indexes",), f"has {len(indexes)} entries; at most {MOST_INDEXES} are accepted"
        return
    place_of: dict[int, int] = {}
    for place, index in enumerate(indexes):
        if not isinstance(index, int) or isinstance(index, bool):
            yield ("indexes", place), "must be a whole number"
        elif not 0 <= index <= HIGHEST_INDEX:
            yield ("indexes", place), f"must be from 0 to {HIGHEST_INDEX}"
        elif place_of.setdefault(index, place) != place:
            yield ("indexes", place), f"is already given in place {place_of[index]}"


def _names(names: Sequence[str]) -> str:
    *most, last = (f"`{name}`" for name in names)
    return f"{', '.join(most)} and {last}"
