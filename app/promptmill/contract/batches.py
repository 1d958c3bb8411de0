"""Records of a batch: with its results, and without them in lists."""

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
"""The states of `domain.lifecycle.JobState` that clients see; a test compares the two lists."""
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
    """Number of prompts in each state; the numbers add up to `total`."""

    total: Count = Field(description="Prompts of the batch.", examples=[3])
    pending: Count = Field(description="Waiting for their first or next attempt.", examples=[0])
    running: Count = Field(description="Being answered by Ollama now.", examples=[1])
    succeeded: Count = Field(description="Answered.", examples=[1])
    failed: Count = Field(description="Ended with an error.", examples=[1])
    cancelled: Count = Field(description="Cancelled with the batch.", examples=[0])
    expired: Count = Field(description="Not answered before the batch expired.", examples=[0])

    @property
    def finished(self) -> int:
        """Number of prompts that have an outcome."""
        return self.succeeded + self.failed + self.cancelled + self.expired


class Usage(Record):
    """Tokens as Ollama counted them, over the finished prompts."""

    prompt_tokens: Count = Field(description="Tokens read.", examples=[11])
    completion_tokens: Count = Field(description="Tokens written.", examples=[20])


class Pull(Record):
    """Download of a model to a host, for batches with `auto_pull`."""

    model: str = Field(description="The model, as the batch has it.", examples=["qwen3:8b"])
    host: str | None = Field(
        description="Host that pulls the model; null while no host is reachable.",
        examples=["http://127.0.0.1:11434"],
    )
    status: Annotated[
        str, OneOf(Literal["waiting", "pulling", "succeeded", "failed", "cancelled"])
    ] = Field(
        description="`waiting` (for the host, or for the next attempt), `pulling`, `succeeded`,"
        " `failed` (finally: prompts of that model end as `model_not_found` unless another"
        " host pulls it), `cancelled` (no batch waits for the model any more).",
        examples=["pulling"],
    )
    completed_bytes: Count | None = Field(
        description="Bytes that were pulled; null before Ollama reports them.",
        examples=[1911260447],
    )
    total_bytes: Count | None = Field(
        description="Bytes of the layers that Ollama has begun or finished; the number grows with"
        " each further layer.",
        examples=[4661211424],
    )
    detail: str | None = Field(description="Ollama's own words.", examples=["pulling 6a0746a1ec1a"])
    error: str | None = Field(
        description="Why the last attempt failed; null if no attempt failed.", examples=[None]
    )


class WaitingFor(Record):
    """Reason why a batch does not advance."""

    reason: Annotated[str, OneOf(WaitingWord)] = Field(
        description="`host_unreachable` (no connection, or a proxy says so), `host_refuses` (401,"
        " 403, no Ollama), `host_busy` (503), `host_fails` (several prompts in a row failed"
        " there, or it does not answer in time), `host_disabled` (out of service), `usage_limit`"
        " (429), `model_missing` (see `pulls`), `benchmark` (a benchmark has the host to itself),"
        " `paused`, `other_batches` (other batches go first), `start_limit` (`rate_limit_delay`),"
        " `next_attempt` (the remaining prompts failed and wait for another attempt),"
        " `workers_missing`. Newer versions may add reasons.",
        examples=["host_unreachable"],
    )
    message: str = Field(
        description="A sentence for people.",
        examples=["No connection to http://gpu-1:11434 could be made: Connection refused"],
    )
    until: Time | None = Field(
        description="When the next try follows; null: unknown.",
        examples=["2026-11-23T06:30:10.123Z"],
    )
    host: str | None = Field(
        description="Host that the reason is about; null: not a single host.",
        examples=["http://gpu-1:11434"],
    )


class BatchSummary(Record):
    """A batch without its results."""

    id: str = Field(description="The batch's id.", examples=[examples.BATCH_ID])
    object: Literal["batch"] = Field(description="Always `batch`.", examples=["batch"])
    status: Annotated[str, OneOf(BatchStatus)] = Field(
        description="`queued`, `running`, `paused` (no prompt is started), `cancelling` (running"
        " prompts are being aborted); final unless retried: `completed` (every prompt has"
        " an outcome and at least one succeeded), `failed` (none succeeded, or more failed"
        " than `max_failures` allows), `cancelled`, `expired` (its time ran out first).",
        examples=["running"],
    )
    model: str = Field(
        description="Model of prompts without a model of their own.", examples=["qwen3:8b"]
    )
    kind: Annotated[str, OneOf(Literal["generate", "embed"])] = Field(
        description="Whether the prompts are answered or embedded.", examples=["generate"]
    )
    max_concurrent: int = Field(
        description="Most prompts that run at a time: the limit in force.", examples=[5]
    )
    auto_concurrency: bool = Field(
        description="Whether the limit is adapted while the batch runs (`max_concurrent: auto`).",
        examples=[False],
    )
    rate_limit_delay: float = Field(description="Least seconds between starts.", examples=[0.1])
    priority: int = Field(description="Higher goes first.", examples=[0])
    label: str | None = Field(
        description="Your name for the batch; null: no label.", examples=["colours, first try"]
    )
    metadata: dict[str, str] = Field(
        description="Your pairs, as sent.", examples=[{"project": "colours"}]
    )
    counts: Counts = Field(description="Prompts by state.", examples=[examples.SUMMARY["counts"]])
    progress: float = Field(
        ge=0, le=1, description="Share of prompts with an outcome; 1 at the end.", examples=[0.6666]
    )
    prompts_per_s: float | None = Field(
        description="Prompts finished per second. While the batch runs: over its latest results"
        " (half of them, at most a hundred) up to now. After its end: over its whole run. Null"
        " before the first result and while no prompt is started.",
        examples=[2.5],
    )
    eta_s: float | None = Field(
        description="Estimated seconds until the batch ends: the remaining prompts divided by"
        " `prompts_per_s` if it runs alone; else computed from the measured seconds of a"
        " call, the slots of the hosts, and the batches before and beside it. Null before"
        " its model was measured, while it is paused or being cancelled, and after its"
        " end.",
        examples=[0.4, 240.0],
    )
    queue_position: int | None = Field(
        description="Place among the batches that wait for their first start, from 1, by priority"
        " and then by age; null once started. Started batches are not counted, but `eta_s` allows"
        " for them.",
        examples=[1],
    )
    waiting_for: WaitingFor | None = Field(
        description="Why the batch does not advance; null while it advances and after its end. Of"
        " several reasons, the one that ends first. While the batch waits for a host, a"
        " model or a worker, `eta_s` is null.",
        examples=[None],
    )
    usage: Usage = Field(
        description="Tokens so far.", examples=[{"prompt_tokens": 11, "completion_tokens": 20}]
    )
    created_at: Time = Field(
        description="When the batch was accepted.", examples=["2026-11-23T06:30:00.123Z"]
    )
    started_at: Time | None = Field(
        description="When the first prompt started.", examples=["2026-11-23T06:30:00.223Z"]
    )
    finished_at: Time | None = Field(
        description="When it ended.", examples=["2026-11-23T06:30:09.456Z"]
    )
    expires_at: Time | None = Field(
        description="When prompts without an outcome expire; null: never.",
        examples=["2026-11-24T06:30:00.123Z", None],
    )
    error: str | None = Field(
        description="Why the whole batch failed or expired.", examples=["No prompt succeeded."]
    )
    timeout_s: float = Field(description="Seconds that one attempt may take.", examples=[300.0])
    max_attempts: int = Field(description="Attempts for each prompt.", examples=[3])
    max_failures: int | str | None = Field(
        description="Number or share of prompts that may fail, as sent; null: any number.",
        examples=["20%", 25, None],
    )
    fail_on: tuple[DefectWord, ...] = Field(
        description="Defects that make an answer a failure.",
        examples=[examples.SUMMARY["fail_on"]],
    )
    auto_pull: bool = Field(
        description="Whether models that no host has are pulled before its prompts start.",
        examples=[True],
    )
    pulls: tuple[Pull, ...] = Field(
        description="Pulls that the batch waits or waited for; empty without `auto_pull`, or if"
        " every model was installed.",
        examples=[examples.SUMMARY["pulls"]],
    )
    key: str | None = Field(
        description="Name of the API key of the submission; null: no key.",
        examples=["alice"],
    )
    parameters: dict[str, Any] = Field(
        description="Fields for Ollama that apply to every prompt, as sent.",
        examples=[{"options": {"num_predict": 128}}],
    )

    @property
    def has_ended(self) -> bool:
        """Whether the batch is in a state that only a retry changes."""
        return self.status in ENDED_STATUSES

    @property
    def all_succeeded(self) -> bool:
        """Whether the batch has ended and every prompt succeeded."""
        return self.has_ended and self.counts.succeeded == self.counts.total

    def _repr_html_(self) -> str:
        from promptmill.display import html  # noqa: PLC0415 - only notebooks ask for it

        return html.batch(self)


class Batch(BatchSummary):
    """A batch with the first page of its results."""

    _is_replay: bool = PrivateAttr(default=False)

    results: tuple[Result, ...] = Field(
        description="First page of the finished results, in prompt order. Empty with `?limit=0`.",
        examples=[[examples.RESULT]],
    )
    next_cursor: str | None = Field(
        description="`cursor` of the next page, for `/batches/{id}/results`; null: no more results"
        " now.",
        examples=["YWZ0ZXI6OTk"],
    )

    @property
    def is_replay(self) -> bool:
        """Whether an earlier submission with the same idempotency key created the batch."""
        return self._is_replay

    def as_replay(self) -> Self:
        """A copy of the batch, marked as created by an earlier submission."""
        self._is_replay = True
        return self


class AcceptedBatch(Batch):
    """A batch that has just been submitted."""

    unchecked: Unchecked = ()


class BatchPage(Record):
    """Page of batches, newest first."""

    data: tuple[BatchSummary, ...] = Field(
        description="The batches.", examples=[[examples.SUMMARY]]
    )
    next_cursor: str | None = Field(
        description="`cursor` of the next page; null at the end.", examples=[None]
    )
