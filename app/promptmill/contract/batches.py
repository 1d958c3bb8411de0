"""A batch as clients read it: with its results, and without them in lists."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr

from promptmill.contract import examples
from promptmill.contract.dry_run import Unchecked
from promptmill.contract.record import ENDED_STATUSES, Count, DefectWord, OneOf, Record, Time
from promptmill.contract.results import Result

BatchStatus = Literal[
    "queued", "running", "paused", "cancelling", "completed", "failed", "cancelled", "expired"
]
"""The states of `domain.lifecycle.JobState` that a client sees; a test holds them together."""
WaitingWord = Literal[
    "host_unreachable",
    "host_refuses",
    "host_busy",
    "host_fails",
    "host_disabled",
    "usage_limit",
    "model_missing",
    "benchmark",
    "paused",
    "other_batches",
    "start_limit",
    "next_attempt",
    "workers_missing",
]
"""The members of `domain.batches.WaitingReason`."""


class Counts(Record):
    """How many prompts are in each state; they always add up to `total`."""

    total: Count = Field(description="Prompts of the batch.", examples=[3])
    pending: Count = Field(description="Waiting for their turn or next attempt.", examples=[0])
    running: Count = Field(description="With Ollama at this moment.", examples=[1])
    succeeded: Count = Field(description="Answered.", examples=[1])
    failed: Count = Field(description="Ended with an error.", examples=[1])
    cancelled: Count = Field(description="Cancelled with the batch.", examples=[0])
    expired: Count = Field(description="Not answered in time.", examples=[0])

    @property
    def finished(self) -> int:
        """Prompts that have an outcome."""
        return self.succeeded + self.failed + self.cancelled + self.expired


class Usage(Record):
    """Tokens as Ollama counted them, over the finished prompts."""

    prompt_tokens: Count = Field(description="Tokens read.", examples=[11])
    completion_tokens: Count = Field(description="Tokens written.", examples=[20])


class Pull(Record):
    """A model that is fetched to a host for a batch with `auto_pull`."""

    model: str = Field(description="The model, as the batch has it.", examples=["qwen3:8b"])
    host: str | None = Field(
        description="The host that fetches it; null while none can be reached.",
        examples=["http://127.0.0.1:11434"],
    )
    status: Annotated[
        str, OneOf(Literal["waiting", "pulling", "succeeded", "failed", "cancelled"])
    ] = Field(
        description="`waiting` (for the host, or for the next attempt), `pulling`, `succeeded`,"
        " `failed` (for good: prompts of that model end as `model_not_found` if no other host"
        " fetches it), `cancelled` (no batch waits for it any more).",
        examples=["pulling"],
    )
    completed_bytes: Count | None = Field(
        description="Bytes that are there; null before Ollama tells.", examples=[1911260447]
    )
    total_bytes: Count | None = Field(
        description="Bytes of the layers that Ollama has begun or finished: it grows as it comes"
        " to the next.",
        examples=[4661211424],
    )
    detail: str | None = Field(description="Ollama's own words.", examples=["pulling 6a0746a1ec1a"])
    error: str | None = Field(
        description="Why the last attempt failed; null when none did.", examples=[None]
    )


class WaitingFor(Record):
    """Why a batch does not advance."""

    reason: Annotated[str, OneOf(WaitingWord)] = Field(
        description="`host_unreachable` (no connection, or a proxy says so), `host_refuses` (401,"
        " 403, no Ollama), `host_busy` (503), `host_fails` (different prompts failed there in a"
        " row, or it does not answer in time), `host_disabled` (out of service),"
        " `usage_limit` (429), `model_missing` (see `pulls`),"
        " `benchmark` (it has the host to itself), `paused`, `other_batches` (they go first),"
        " `start_limit` (`rate_limit_delay`), `next_attempt` (what is left has failed and will be"
        " tried again), `workers_missing`. Newer versions may have more.",
        examples=["host_unreachable"],
    )
    message: str = Field(
        description="A sentence for people.",
        examples=["No connection to http://gpu-1:11434 could be made: Connection refused"],
    )
    until: Time | None = Field(
        description="When it is tried again; null: nobody knows.",
        examples=["2026-11-23T06:30:10.123Z"],
    )
    host: str | None = Field(
        description="The host that it is about; null: none alone.",
        examples=["http://gpu-1:11434"],
    )


class BatchSummary(Record):
    """A batch without its results."""

    id: str = Field(description="The batch's id.", examples=[examples.BATCH_ID])
    object: Literal["batch"] = Field(description="Always `batch`.", examples=["batch"])
    status: Annotated[str, OneOf(BatchStatus)] = Field(
        description="`queued`, `running`, `paused` (nothing more is started), `cancelling` (it is"
        " being ended), or until a retry: `completed` (every prompt has an outcome and one at least"
        " succeeded), `failed` (none succeeded, or more failed than `max_failures` allows),"
        " `cancelled`, `expired` (its time ran out first).",
        examples=["running"],
    )
    model: str = Field(description="Model of the prompts that name none.", examples=["qwen3:8b"])
    kind: Annotated[str, OneOf(Literal["generate", "embed"])] = Field(
        description="Whether the prompts are answered or embedded.", examples=["generate"]
    )
    max_concurrent: int = Field(
        description="Most prompts running at one moment: the number in force.", examples=[5]
    )
    auto_concurrency: bool = Field(
        description="Whether that number is adapted while the batch runs (`max_concurrent: auto`).",
        examples=[False],
    )
    rate_limit_delay: float = Field(description="Least seconds between starts.", examples=[0.1])
    priority: int = Field(description="Higher goes first.", examples=[0])
    label: str | None = Field(
        description="What you call it; null: it has no label.", examples=["colours, first try"]
    )
    metadata: dict[str, str] = Field(
        description="Your pairs, as sent.", examples=[{"project": "colours"}]
    )
    counts: Counts = Field(description="Prompts by state.", examples=[examples.SUMMARY["counts"]])
    progress: float = Field(
        ge=0, le=1, description="Share of prompts with an outcome; 1 at the end.", examples=[0.6666]
    )
    prompts_per_s: float | None = Field(
        description="Prompts done per second. While it runs: lately, over its last results (half of"
        " them, a hundred at most) up to now. When it has ended: over all of its time. Null before"
        " the first, and while nothing more is started.",
        examples=[2.5],
    )
    eta_s: float | None = Field(
        description="Seconds until it will have ended, with what goes before and beside it: what is"
        " left divided by `prompts_per_s` when nothing does, else reckoned from the seconds of a"
        " call and the slots of the hosts, as workers have measured them. Null while nobody has"
        " measured its model, while it is paused or being cancelled, and at the end.",
        examples=[0.4, 240.0],
    )
    queue_position: int | None = Field(
        description="Place among the batches that wait for their first start, from 1, by priority"
        " and then by age; null when it has started. Those that have started are not counted:"
        " `eta_s` knows of them.",
        examples=[1],
    )
    waiting_for: WaitingFor | None = Field(
        description="Why it does not advance; null while it does, and when it has ended. Where"
        " several things hold it up, the one that is over first. While it waits for a host, a model"
        " or a worker, `eta_s` is null.",
        examples=[None],
    )
    usage: Usage = Field(
        description="Tokens so far.", examples=[{"prompt_tokens": 11, "completion_tokens": 20}]
    )
    created_at: Time = Field(
        description="When it was accepted.", examples=["2026-11-23T06:30:00.123Z"]
    )
    started_at: Time | None = Field(
        description="When its first prompt started.", examples=["2026-11-23T06:30:00.223Z"]
    )
    finished_at: Time | None = Field(
        description="When it ended.", examples=["2026-11-23T06:30:09.456Z"]
    )
    expires_at: Time | None = Field(
        description="When prompts that have no answer yet expire; null: never.",
        examples=["2026-11-24T06:30:00.123Z", None],
    )
    error: str | None = Field(
        description="Why the whole batch failed or expired.", examples=["No prompt succeeded."]
    )
    timeout_s: float = Field(description="Seconds that one attempt may take.", examples=[300.0])
    max_attempts: int = Field(description="Attempts for each prompt.", examples=[3])
    max_failures: int | str | None = Field(
        description="How many prompts may fail, or what share of all, as sent; null: any number.",
        examples=["20%", 25, None],
    )
    fail_on: tuple[DefectWord, ...] = Field(
        description="The defects that make an answer a failure.",
        examples=[examples.SUMMARY["fail_on"]],
    )
    auto_pull: bool = Field(
        description="Whether models that no host has are pulled before its prompts start.",
        examples=[True],
    )
    pulls: tuple[Pull, ...] = Field(
        description="The pulls that it waits or has waited for; empty without `auto_pull`, and"
        " where every model was there.",
        examples=[examples.SUMMARY["pulls"]],
    )
    key: str | None = Field(
        description="Name of the API key that it was sent with; null: without one.",
        examples=["alice"],
    )
    parameters: dict[str, Any] = Field(
        description="The fields for Ollama that hold for every prompt, as sent.",
        examples=[{"options": {"num_predict": 128}}],
    )

    @property
    def has_ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in ENDED_STATUSES

    @property
    def all_succeeded(self) -> bool:
        """Whether the batch has ended and every prompt has an answer."""
        return self.has_ended and self.counts.succeeded == self.counts.total

    def _repr_html_(self) -> str:
        from promptmill.display import html  # noqa: PLC0415 - only notebooks ask for it

        return html.batch(self)


class Batch(BatchSummary):
    """A batch with the first page of its results."""

    _is_replay: bool = PrivateAttr(default=False)

    results: tuple[Result, ...] = Field(
        description="Finished results in prompt order: the first page. Empty with `?limit=0`.",
        examples=[[examples.RESULT]],
    )
    next_cursor: str | None = Field(
        description="`cursor` for `/batches/{id}/results` to read on; null: nothing more now.",
        examples=["YWZ0ZXI6OTk"],
    )

    @property
    def is_replay(self) -> bool:
        """Whether it was there already when it was submitted, under the same idempotency key."""
        return self._is_replay

    def as_replay(self) -> Self:
        """Itself, marked as one that was there already."""
        self._is_replay = True
        return self


class AcceptedBatch(Batch):
    """A batch that has just been submitted."""

    unchecked: Unchecked = ()


class BatchPage(Record):
    """Some batches, newest first."""

    data: tuple[BatchSummary, ...] = Field(
        description="The batches.", examples=[[examples.SUMMARY]]
    )
    next_cursor: str | None = Field(
        description="`cursor` of the next page; null at the end.", examples=[None]
    )
