"""Request models of changes, retries and hosts.

A field that is null counts as left out: its value is not changed.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Self, cast

from pydantic import ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from promptmill.api.schemas.steering import (
    AUTO,
    ExpiresIn,
    Label,
    MaxConcurrent,
    Metadata,
    Priority,
    RateLimitDelay,
)
from promptmill.api.schemas.strict import Path, RequestModel, faults_error, need_any_field, whole
from promptmill.contract import examples
from promptmill.domain.batches import BatchChanges

MOST_INDEXES: Final = 100_000
"""Most prompts in one request for a retry."""
HIGHEST_INDEX: Final = 2**32 - 1
"""Highest index that a prompt can have."""


def _check_indexes(value: object) -> list[int]:
    """Check the indexes by hand, because a model is slow to list 100,000 faults."""
    if not isinstance(value, list):
        raise PydanticCustomError("indexes", "must be a list of whole numbers")
    indexes = [whole(index) for index in cast("list[object]", value)]
    if not indexes:
        raise PydanticCustomError(
            "indexes", "must not be empty; leave it out to run all again that had no success"
        )
    if len(indexes) > MOST_INDEXES:
        raise faults_error(
            [((), f"has {len(indexes)} entries; at most {MOST_INDEXES} are accepted")]
        )
    faults: list[tuple[Path, str]] = []
    place_of: dict[object, int] = {}
    for place, index in enumerate(indexes):
        if not isinstance(index, int) or isinstance(index, bool):
            faults.append(((place,), "must be a whole number"))
        elif not 0 <= index <= HIGHEST_INDEX:
            faults.append(((place,), f"must be from 0 to {HIGHEST_INDEX}"))
        elif place_of.setdefault(index, place) != place:
            faults.append(((place,), f"is already given in place {place_of[index]}"))
    if faults:
        raise faults_error(faults)
    return cast("list[int]", indexes)


Indexes = Annotated[
    list[int],
    PlainValidator(_check_indexes),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "integer", "minimum": 0, "maximum": HIGHEST_INDEX},
            "minItems": 1,
            "maxItems": MOST_INDEXES,
            "uniqueItems": True,
        }
    ),
]


class BatchUpdate(RequestModel):
    """Change of a batch: at least one field; the others keep their values."""

    model_config = ConfigDict(json_schema_extra=need_any_field)

    max_concurrent: MaxConcurrent | None = Field(
        default=None,
        description="Most prompts running at one moment; or `auto`: the number is adapted from now"
        " on. A number ends that.",
        examples=[20, "auto"],
    )
    rate_limit_delay: RateLimitDelay | None = Field(
        default=None,
        description="Least seconds between two starts; counts from the last start.",
        examples=[0.0],
    )
    priority: Priority | None = Field(
        default=None, description="Batches with a higher number go first.", examples=[10]
    )
    label: Label | None = Field(
        default=None, description="What you call the batch.", examples=["colours, second try"]
    )
    metadata: Metadata | None = Field(
        default=None,
        description="Your pairs, in place of all that were there.",
        examples=[{"project": "colours", "run": "4"}],
    )

    @model_validator(mode="after")
    def _require_a_change(self) -> Self:
        if not self.model_fields_set:
            names = [f"`{name}`" for name in type(self).model_fields]
            wanted = f"{', '.join(names[:-1])} and {names[-1]}"
            raise faults_error([((), f"must have at least one of {wanted}")])
        return self

    def changes(self) -> BatchChanges:
        """Convert the request to the changes to store."""
        auto = self.max_concurrent == AUTO
        return BatchChanges(
            max_concurrent=None if auto else self.max_concurrent,
            auto_concurrency=auto,
            rate_limit_delay_s=self.rate_limit_delay,
            priority=self.priority,
            label=self.label,
            metadata=self.metadata,
        )


class RetryRequest(RequestModel):
    """Selection of prompts to run again."""

    indexes: Indexes | None = Field(
        default=None,
        description="Their places in the batch, from 0, as in the `index` of a result; each of a"
        " prompt that has failed, was cancelled or has expired. Left out: all of these.",
        examples=[[0, 5]],
    )
    expires_in_s: ExpiresIn | None = Field(
        default=None,
        description="A new deadline, in seconds from now. Left out, the old one holds if it has not"
        " passed, and else there is none.",
        examples=[3600.0],
    )


UPDATE: Final[dict[str, Any]] = {"max_concurrent": 20, "priority": 10}
"""A worked example of a change."""
UPDATED: Final[dict[str, Any]] = {
    **examples.SUMMARY,
    **UPDATE,
    "results": [],
    "next_cursor": None,
}
PAUSED: Final[dict[str, Any]] = {
    **examples.SUMMARY,
    "status": "paused",
    "eta_s": None,
    "results": [],
    "next_cursor": None,
}
RUNNING: Final[dict[str, Any]] = {**examples.SUMMARY, "results": [], "next_cursor": None}
RETRY: Final[dict[str, Any]] = {"indexes": [2], "expires_in_s": 3600.0}
"""A worked example of a request to run a prompt again."""
RETRIED: Final[dict[str, Any]] = {
    **examples.SUMMARY,
    "counts": {**examples.SUMMARY["counts"], "pending": 1, "failed": 0},
    "progress": 0.3333,
    "expires_at": "2026-11-23T07:30:09.456Z",
    "results": [],
    "next_cursor": None,
}


class HostUpdate(RequestModel):
    """Change of a host."""

    enabled: bool = Field(
        description="False takes it out of service: what runs there may end, and nothing more is"
        " started. True puts it back.",
        examples=[False],
    )
