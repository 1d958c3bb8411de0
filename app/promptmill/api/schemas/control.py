"""What a client sends to change a batch or to run prompts again.

A field may be left out, but not null: of a change, null could mean that a thing stays as well as
that it goes back to its default.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field

from promptmill.api.schemas import examples
from promptmill.api.schemas.steering import (
    ExpiresIn,
    MaxConcurrent,
    Metadata,
    Priority,
    RateLimitDelay,
)
from promptmill.api.schemas.strict import RequestModel

MOST_INDEXES: Final = 100_000
"""Most prompts that one request for a retry may name."""
HIGHEST_INDEX: Final = 2**32 - 1
"""No batch can have a prompt beyond it."""


def _never_null(schema: dict[str, Any]) -> None:
    """Document that a field which is left out is not the same as null."""
    for field in schema["properties"].values():
        field.pop("default", None)
        kinds = [kind for kind in field.pop("anyOf") if kind != {"type": "null"}]
        field.update(kinds[0] if len(kinds) == 1 else {"anyOf": kinds})


def _something_to_change(schema: dict[str, Any]) -> None:
    _never_null(schema)
    schema["minProperties"] = 1


class BatchUpdate(RequestModel):
    """What to change of a batch: one field at least; the others stay as they are."""

    model_config = ConfigDict(json_schema_extra=_something_to_change)

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
    metadata: Metadata | None = Field(
        default=None,
        description="Your pairs, in place of all that were there.",
        examples=[{"project": "colours", "run": "4"}],
    )


class RetryRequest(RequestModel):
    """Which prompts to run again."""

    model_config = ConfigDict(json_schema_extra=_never_null)

    indexes: (
        Annotated[
            list[Annotated[int, Field(ge=0, le=HIGHEST_INDEX)]],
            Field(min_length=1, max_length=MOST_INDEXES, json_schema_extra={"uniqueItems": True}),
        ]
        | None
    ) = Field(
        default=None,
        description="Their places in the batch, from 0, as in the `index` of a result. Left out:"
        " all that failed, were cancelled or expired.",
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
