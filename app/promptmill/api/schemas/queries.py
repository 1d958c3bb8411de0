"""Query parameters of the endpoints that read batches, results and prompts."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from promptmill.contract.activity import WindowName
from promptmill.contract.batches import BatchStatus
from promptmill.contract.record import Defect
from promptmill.contract.results import Outcome
from promptmill.domain.outcomes import ErrorCode


def _not_a_number(value: object) -> object:
    """Refuse numbers, which pydantic takes for seconds since 1970."""
    if isinstance(value, str) and not re.match(r"\d{4}-", value):
        raise PydanticCustomError("no_moment", "must be a date and time, as 2026-11-23T00:00:00Z")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_not_a_number)]


class BatchQuery(BaseModel):
    """Query of one batch."""

    limit: int = Field(
        default=100,
        ge=0,
        le=1000,
        description="Most results to embed; 0 leaves them out, for cheap polling.",
        examples=[0],
    )
    wait_s: float = Field(
        default=0.0,
        ge=0,
        le=300,
        allow_inf_nan=False,
        description="Answer as soon as the batch has ended, at the latest after so many seconds.",
        examples=[30.0],
    )


class BatchListQuery(BaseModel):
    """Query of the list of batches."""

    limit: int = Field(default=100, ge=1, le=1000, description="Most batches.", examples=[20])
    cursor: str | None = Field(
        default=None,
        max_length=200,
        description="`next_cursor` of the page before.",
        examples=["YmVmb3JlOmJhdGNoXzAxa2FzcWc4djNtMmM2aHEwbjV0N3g5emVk"],
    )
    status: BatchStatus | None = Field(
        default=None, description="Only batches in this state.", examples=["running"]
    )
    model: str | None = Field(
        default=None,
        max_length=512,
        description="Only batches of this model.",
        examples=["qwen3:8b"],
    )
    label: str | None = Field(
        default=None,
        max_length=200,
        description="Only batches of exactly this label.",
        examples=["colours, first try"],
    )
    key: str | None = Field(
        default=None,
        max_length=64,
        description="Only batches that were sent with the API key of this name.",
        examples=["alice"],
    )
    q: str | None = Field(
        default=None,
        max_length=200,
        description="Only batches whose label, id or `metadata` hold this text.",
        examples=["colours"],
    )
    created_after: Moment | None = Field(
        default=None,
        description="Only batches accepted then or later; with `Z` or an offset.",
        examples=["2026-11-23T00:00:00Z"],
    )
    created_before: Moment | None = Field(
        default=None,
        description="Only batches accepted earlier.",
        examples=["2026-11-24T00:00:00Z"],
    )


class StreamQuery(BaseModel):
    """Query of a list that is read page by page, or whole as a stream."""

    format: Literal["json", "ndjson", "csv"] | None = Field(
        default=None,
        description="`json`: a page. `ndjson`, `csv`: everything as a stream. Left out, the"
        " header `Accept` decides.",
        examples=["ndjson"],
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Most entries of a page, 100 if left out; pages are of JSON only.",
        examples=[1000],
    )
    cursor: str | None = Field(
        default=None,
        max_length=200,
        description="`next_cursor` of the page before; pages are of JSON only.",
        examples=["YWZ0ZXI6OTk"],
    )


class ResultQuery(StreamQuery):
    """Query of results."""

    status: Outcome | None = Field(
        default=None, description="Only results that ended so.", examples=["failed"]
    )
    error_code: ErrorCode | None = Field(
        default=None, description="Only failures of this code.", examples=["timeout"]
    )
    defect: Defect | None = Field(
        default=None, description="Only answers with this defect.", examples=["truncated"]
    )
    model: str | None = Field(
        default=None,
        max_length=512,
        description="Only results of this model.",
        examples=["qwen3:8b"],
    )
    host: str | None = Field(
        default=None,
        max_length=512,
        description="Only results of this host.",
        examples=["http://127.0.0.1:11434"],
    )
    min_attempts: int | None = Field(
        default=None, ge=0, le=1000, description="At least so many attempts.", examples=[2]
    )
    min_latency_s: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="At least so many seconds.",
        examples=[10.0],
    )
    max_latency_s: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="At most so many seconds.",
        examples=[60.0],
    )
    q: str | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="Only results that hold this text in prompt, answer, error or id; upper and"
        " lower case of ASCII are alike.",
        examples=["rainbow"],
    )
    in_: Literal["prompt", "response", "error", "id"] | None = Field(
        default=None, alias="in", description="Where `q` is looked for.", examples=["response"]
    )
    preview: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Cut prompt, answer and error to so many characters, and leave out `thinking`,"
        " `tool_calls` and `logprobs`; pages of JSON only.",
        examples=[200],
    )
    encoding_format: Literal["float", "base64"] = Field(
        default="float",
        description="How vectors are written: as numbers, or in base64, which is half as long.",
        examples=["base64"],
    )
    spreadsheet: bool = Field(
        default=False,
        description="CSV for spreadsheets: with a byte order mark, and an apostrophe before what a"
        " spreadsheet would take for a formula.",
        examples=[True],
    )


class PromptsQuery(BaseModel):
    """Query of prompts without a result."""

    state: Literal["running", "pending"] = Field(
        default="running",
        description="`running`: by index. `pending`: in the order in which they will start.",
        examples=["running"],
    )
    limit: int = Field(default=100, ge=1, le=1000, description="Most prompts.", examples=[20])


class SeriesQuery(BaseModel):
    """Query of throughput."""

    window: WindowName = Field(
        default="1h",
        description="How far back: minutes, hours or days up to now.",
        examples=["1h"],
    )
    by: Literal["none", "model", "host"] = Field(
        default="none",
        description="One series of everything, or one for each model or host.",
        examples=["model"],
    )


class HostsQuery(BaseModel):
    """Query of hosts."""

    fresh: bool = Field(
        default=True,
        description="Whether every host is asked now; else the answer may be five seconds old, and"
        " is shared by all who ask.",
        examples=[False],
    )
