"""What the service tells, as immutable typed records with the contract's own field names.

Names and units are those of the HTTP contract: `*_s` and `rate_limit_delay` are seconds, Ollama's
own durations are integer nanoseconds, times are aware UTC, and what is not known is None. A field
that a newer service adds is kept in `model_extra`; a status that a newer service adds is a string
like the others.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, PrivateAttr

ENDED_STATUSES: Final = frozenset({"completed", "failed", "cancelled", "expired"})
"""Values of a batch's `status` after which nothing happens any more, unless it is retried."""


class Record(BaseModel):
    """Base of the records."""

    # protected_namespaces: a field may be called `model_...`, it is the service's word.
    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())


class Counts(Record):
    """How many prompts of a batch are in each state; they add up to `total`."""

    total: int
    pending: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0

    @property
    def finished(self) -> int:
        """Prompts that have an outcome."""
        return self.succeeded + self.failed + self.cancelled + self.expired


class Usage(Record):
    """Tokens read and written for a batch, as Ollama counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Result(Record):
    """The outcome of one prompt."""

    index: int
    """Place of the prompt in the batch, from 0."""
    id: str | None = None
    """The caller's own id of the prompt."""
    prompt: str
    response: str | None = None
    model: str
    success: bool
    status: str
    """`succeeded`, `failed`, `cancelled` or `expired`."""
    error: str | None = None
    error_code: str | None = None
    defect: str | None = None
    """What is wrong with an answer that came whole, whether it counts as a failure or not."""
    attempts: int = 0
    done_reason: str | None = None
    thinking: str | None = None
    tool_calls: tuple[Any, ...] | None = None
    logprobs: tuple[Any, ...] | None = None
    host: str | None = None
    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None
    prompt_eval_duration: int | None = None
    eval_count: int | None = None
    eval_duration: int | None = None
    latency_s: float | None = None
    """From sending the request to the end of the answer."""
    ttft_s: float | None = None
    """From sending the request to the first text."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    embedding: tuple[float, ...] | None = None
    """The vector of a text that was embedded."""
    data: dict[str, Any] | None = None
    """The prompt's own object, as it was sent."""

    def _repr_html_(self) -> str:
        from promptmill.display import html  # noqa: PLC0415 - only notebooks ask for it

        return html.results([self])


class Pull(Record):
    """A model that is fetched to a host for a batch with `auto_pull`."""

    model: str
    host: str | None = None
    """None while no host can be reached."""
    status: str
    """`waiting`, `pulling`, `succeeded`, `failed` or `cancelled`."""
    completed_bytes: int | None = None
    total_bytes: int | None = None
    """Of the layers that Ollama has spoken of so far."""
    detail: str | None = None
    """Ollama's own words."""
    error: str | None = None
    """Why the last attempt failed."""


class WaitingFor(Record):
    """Why a batch does not advance."""

    reason: str
    """`host_unreachable`, `usage_limit`, ...; the documentation of the service lists them."""
    message: str
    """A sentence for people."""
    until: datetime | None = None
    """When it is tried again; None when nobody knows."""
    host: str | None = None
    """The host that it is about."""


class Batch(Record):
    """A batch as it stood when the service answered."""

    id: str
    status: str
    """`queued`, `running`, `paused`, `cancelling`, or one of `ENDED_STATUSES`."""
    model: str
    kind: str = "generate"
    """`generate`: answers. `embed`: vectors."""
    counts: Counts
    progress: float
    """Share of the prompts that have an outcome, 0 to 1."""
    max_concurrent: int | None = None
    """The number in force."""
    auto_concurrency: bool = False
    """Whether the service adapts it while the batch runs."""
    rate_limit_delay: float | None = None
    priority: int = 0
    label: str | None = None
    """What the caller calls the batch."""
    metadata: dict[str, str] = {}
    prompts_per_s: float | None = None
    """Lately while it runs, over all of its time when it has ended."""
    eta_s: float | None = None
    """Seconds until it will have ended, with what goes before and beside it; None: unknown."""
    queue_position: int | None = None
    """Place among the batches that wait for their first start, from 1; None once it has started."""
    waiting_for: WaitingFor | None = None
    """Why it does not advance; None while it does."""
    usage: Usage = Usage()
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    """When prompts that have no answer yet expire; None: never."""
    error: str | None = None
    timeout_s: float | None = None
    max_attempts: int | None = None
    max_failures: int | str | None = None
    """More failed prompts than that end the batch: a count, or a share such as `20%`."""
    fail_on: tuple[str, ...] | None = None
    """Defects that make an answer a failure."""
    auto_pull: bool = False
    """Whether models that no host has are pulled before its prompts start."""
    pulls: tuple[Pull, ...] = ()
    """The pulls that it waits or has waited for."""
    key: str | None = None
    """Name of the API key that it was sent with; None: without one."""
    parameters: dict[str, Any] = {}
    """Fields of Ollama's request that hold for every prompt."""
    results: tuple[Result, ...] = ()
    """The first results in prompt order; empty where they were not asked for."""
    next_cursor: str | None = None
    """Where the results go on; None if these are all."""
    _is_replay: bool = PrivateAttr(default=False)

    @property
    def is_replay(self) -> bool:
        """Whether it was there already when it was submitted, under the same idempotency key."""
        return self._is_replay

    def _repr_html_(self) -> str:
        from promptmill.display import html  # noqa: PLC0415 - only notebooks ask for it

        return html.batch(self)

    def as_replay(self) -> Batch:
        """Itself, marked as one that was there already."""
        self._is_replay = True
        return self

    @property
    def has_ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in ENDED_STATUSES

    @property
    def all_succeeded(self) -> bool:
        """Whether the batch has ended and every prompt has an answer."""
        return self.has_ended and self.counts.succeeded == self.counts.total


class DryRun(Record):
    """What a batch would be; the service would accept it now."""

    prompts: int
    models: tuple[str, ...]
    """The models that its prompts use."""
    model: str
    kind: str = "generate"
    max_concurrent: int
    auto_concurrency: bool = False
    """Whether that is only where it starts."""
    rate_limit_delay: float
    at_least_s: float
    """Seconds that its starts alone take."""
    timeout_s: float | None = None
    max_attempts: int | None = None
    priority: int = 0
    auto_pull: bool = False
    label: str | None = None
    metadata: dict[str, str] = {}
    parameters: dict[str, Any] = {}
    queued_prompts: int = 0
    """Prompts of other batches that have no outcome yet."""
    unchecked: tuple[str, ...] = ()
    """What answers will not be checked for, a sentence each."""


class BatchPage(Record):
    """Some batches, newest first."""

    data: tuple[Batch, ...]
    next_cursor: str | None = None


class ResultPage(Record):
    """Some results, in prompt order."""

    data: tuple[Result, ...]
    next_cursor: str | None = None
    scanned: int | None = None
    """Results that were looked at for this page."""
    complete: bool = True
    """False when a search stopped at its bound; `next_cursor` goes on."""

    def _repr_html_(self) -> str:
        from promptmill.display import html  # noqa: PLC0415 - only notebooks ask for it

        return html.results(self.data)


class RecommendedLimits(Record):
    """Limits that suit a model's size."""

    max_concurrent: int
    rate_limit_delay: float


class Model(Record):
    """A model that a host has installed."""

    name: str
    size: int | None = None
    """Bytes on disk."""
    parameter_size: str | None = None
    """As Ollama writes it: `8.2B`."""
    quantization_level: str | None = None
    """As Ollama writes it: `Q4_K_M`."""
    digest: str | None = None
    """Where hosts disagree about what a name means, each digest is a model of its own."""
    hosts: tuple[str, ...] = ()
    """Hosts that have it."""
    loaded_on: tuple[str, ...] = ()
    """Hosts that have it in memory."""
    recommended: RecommendedLimits | None = None


class LoadedModel(Record):
    """A model in a host's memory."""

    name: str
    size: int
    """Bytes that it takes, in all memory."""
    size_vram: int
    """Bytes of these on graphics cards."""
    context_length: int | None = None
    """Tokens of the window that it was loaded with."""


class Quarantine(Record):
    """Why no work goes to a host for the moment."""

    next_look_s: float
    """Seconds until it is looked at again."""
    error_code: str
    reason: str


class Host(Record):
    """An Ollama host of the service, as it stood when the service answered."""

    id: str | None = None
    """Its name for `update_host`; None until a worker has worked with it."""
    url: str
    machine: str | None = None
    """The machine that the address is of; None: it is of the network."""
    enabled: bool = True
    """Whether it is in service: False when somebody took it out."""
    reachable: bool
    """Whether it told its version just now."""
    error: str | None = None
    """Why it did not."""
    version: str | None = None
    slots: int | None = None
    """Most calls in flight there; None: only the batches' own limits hold."""
    in_flight: int = 0
    """Prompts of batches that run there, over all workers."""
    held_by: str | None = None
    """The benchmark that has it to itself."""
    models: int | None = None
    """Installed models that it may be asked for."""
    only_models: tuple[str, ...] | None = None
    """The only ones that the settings allow; None: any."""
    loaded_models: tuple[LoadedModel, ...] | None = None
    loaded_models_age_s: float | None = None
    """How old the sight of the loaded models is, in seconds."""
    groups: tuple[str, ...] = ()
    quarantine: Quarantine | None = None
    """Why one worker at least sends no work there."""
    on_trial: bool | None = None
    """It came back to a worker, and no call of that one has gone through since."""
    calls: int | None = None
    """Calls of all workers that live, since the start of each; None when none lives."""
    failed: int | None = None
    latency_s: float | None = None
    """Median of the last 64 calls that gave an answer, and of that over the workers."""


class Worker(Record):
    """A process that works off the queue, or has."""

    id: str
    """Its name, also in the log."""
    host_name: str
    pid: int
    version: str
    concurrency: int
    """Most calls that it has in flight."""
    alive: bool
    state: str
    """`alive`, `stopped` (by itself) or `lost` (silent for longer than the lease)."""
    in_flight: int
    """Prompts that it runs now."""
    finished: int
    """Results that it has stored."""
    fenced: int
    """Outcomes that it had to drop, because the prompts were no longer its own."""
    started_at: datetime
    seen_at: datetime
    exchanged_at: datetime | None = None
    """When it last had nothing left to tell the database; older than a lease: it stands still."""
    stopped_at: datetime | None = None


class Health(Record):
    """The process answers."""

    status: str


class Readiness(Record):
    """Whether the service can work now."""

    is_ready: bool
    detail: dict[str, Any]
    """What the service said about each thing that it needs."""
