"""The tables of batches, as SQLModel sees them. Private to the store: rows never leave it.

One number carries the identity of a prompt through all tables: `id = job_key << 32 | index`. It
makes every per-prompt table a plain integer key (on SQLite the row's own place), keeps the prompts
of a job together and in order, and makes "all of this job" a range. See docs/adr/0002.

The three per-prompt tables carry no foreign keys: their rows are written in the transaction that
creates the parent or found by its id, and are deleted in pieces, children first.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
    column,
    false,
)
from sqlmodel import Field

from promptmill.domain.lifecycle import LIVE_JOB_STATES, JobState, TaskState
from promptmill.domain.outcomes import ErrorCode
from promptmill.store.db.tables.base import Key, Row, is_in, metadata, partial_index, text_enum

INDEX_BITS = 32
"""Bits of a prompt's id that hold its index in the job."""


def prompt_id(job_key: int, index: int) -> int:
    """The id of a job's prompt in all three per-prompt tables."""
    return (job_key << INDEX_BITS) | index


def index_of(prompt_id: int) -> int:
    """The prompt's place in its job, counted from 0."""
    return prompt_id & ((1 << INDEX_BITS) - 1)


def job_key_of(prompt_id: int) -> int:
    """The key of the job that the prompt belongs to."""
    return prompt_id >> INDEX_BITS


def id_range(job_key: int) -> tuple[int, int]:
    """First and last id that prompts of the job can have, both included."""
    return prompt_id(job_key, 0), prompt_id(job_key, (1 << INDEX_BITS) - 1)


class JobRow(Row, table=True):
    """A batch: small and hot, the row that a claim locks."""

    __tablename__ = "job"  # pyright: ignore[reportAssignmentType] - SQLModel declares it otherwise
    __table_args__ = (
        # Few jobs are alive at once; claim, close and purge look only at those.
        partial_index("ix_job_alive", "key", where=is_in(column("state"), LIVE_JOB_STATES)),
        partial_index("ix_job_deleted", "key", where=column("deleted_at_ms").is_not(None)),
        partial_index(
            "ix_job_receiving", "key", where=is_in(column("state"), [JobState.RECEIVING])
        ),
        # Updated at every claim: room in the page keeps PostgreSQL's updates in place. A key is not
        # given again, because an old list or an export may still name it.
        {"postgresql_with": {"fillfactor": "50"}, "sqlite_autoincrement": True},
    )

    key: int | None = Field(default=None, sa_column=Column(Key, primary_key=True))
    id: str = Field(max_length=64, unique=True)
    kind: str = Field(max_length=16)
    state: JobState = Field(sa_type=text_enum(JobState))
    model: str = Field(sa_type=Text)
    max_concurrent: int
    rate_limit_delay_s: float
    parameters: dict[str, Any] = Field(sa_type=JSON)
    timeout_s: float
    max_attempts: int
    priority: int
    label: str | None = Field(default=None, sa_type=Text)
    user_metadata: dict[str, str] = Field(sa_column=Column("metadata", JSON, nullable=False))
    idempotency_key: str | None = Field(default=None, max_length=255, unique=True)
    body_hash: str | None = Field(default=None, max_length=64)
    error: str | None = Field(default=None, sa_type=Text)
    created_at_ms: int = Field(sa_type=BigInteger)
    started_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    finished_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    next_start_at_ms: int = Field(default=0, sa_type=BigInteger)
    last_claimed_at_ms: int = Field(default=0, sa_type=BigInteger)
    last_permit: int | None = Field(default=None, sa_type=BigInteger)
    """The token of the lease that was the last to be permitted to start."""
    expires_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    max_failures: str | None = Field(default=None, max_length=32)
    """The limit as the client wrote it: a count, or a share such as `20%`."""
    most_failed: int | None = None
    """Value of `max_failures` as a number of prompts of this job."""
    stop_reason: str | None = Field(default=None, sa_type=Text)
    """Why the stop rule ends it; None when a client cancels it."""
    fail_on: list[str] | None = Field(
        default=None, sa_column=Column(JSON(none_as_null=True), nullable=True)
    )
    """Defects of an answer that make it a failure; None: the default ones."""
    received_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    """When the last piece of its upload was stored; None when it came in one piece."""
    deleted_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    auto_concurrency: bool = Field(
        default=False, sa_column=Column(Boolean, nullable=False, server_default=false())
    )
    """Whether `max_concurrent` is found out while the job runs."""
    auto_state: dict[str, Any] | None = Field(
        default=None, sa_column=Column(JSON(none_as_null=True), nullable=True)
    )
    """The state of the search; see `store.batches.scheduling.adaptive_concurrency`."""
    rate_since_ms: int | None = Field(default=None, sa_type=BigInteger)
    """When the job was last resumed or reopened: the rate is measured from then on."""
    rate_since_event: int | None = Field(default=None, sa_type=BigInteger)
    """Number of the job's last result at that moment."""
    auto_pull: bool = Field(
        default=False, sa_column=Column(Boolean, nullable=False, server_default=false())
    )
    """Whether models that no host has are pulled before its prompts run."""
    awaits_models: bool = Field(
        default=False, sa_column=Column(Boolean, nullable=False, server_default=false())
    )
    """Whether no prompt starts, because models may be missing; see `store.downloads.planning`."""
    key_id: str | None = Field(default=None, max_length=80)
    """The API key that it was sent with; see `promptmill.domain.access.keys`."""


class JobStatsRow(Row, table=True):
    """Counters of a job, apart from the row that claims lock: one UPDATE per job and flush."""

    __tablename__ = "job_stats"  # pyright: ignore[reportAssignmentType]
    __table_args__ = ({"postgresql_with": {"fillfactor": "50"}},)

    job_key: int = Field(sa_column=Column(Key, primary_key=True, autoincrement=False))
    total: int
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    prompt_tokens: int = Field(default=0, sa_type=BigInteger)
    completion_tokens: int = Field(default=0, sa_type=BigInteger)
    last_event: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    """Number of the last result that was stored, counted from 1 and never taken back by `retry`."""
    setbacks: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    """Calls that found the host busy or timed out, whether they were tried again or not."""


class PromptRow(Row, table=True):
    """The text of a prompt; inserted once, never changed."""

    __tablename__ = "prompt"  # pyright: ignore[reportAssignmentType]

    id: int = Field(sa_column=Column(Key, primary_key=True, autoincrement=False))
    text: str = Field(sa_type=Text)
    custom_id: str | None = Field(default=None, sa_type=Text)
    overrides: dict[str, Any] | None = Field(
        default=None, sa_column=Column(JSON(none_as_null=True), nullable=True)
    )
    data: dict[str, Any] | None = Field(
        default=None, sa_column=Column(JSON(none_as_null=True), nullable=True)
    )
    """The client's own object, which comes back with the result."""


_TASK_STORAGE: dict[str, str] = {
    "fillfactor": "85",
    # Every prompt leaves dead entries at the front of the indexes of what waits and runs, where
    # each claim reads. PostgreSQL's own fifth of the table would let millions gather.
    "autovacuum_vacuum_threshold": "1000",
    "autovacuum_vacuum_scale_factor": "0.01",
}


class TaskRow(Row, table=True):
    """The state of a prompt: a narrow row, because it changes with every attempt."""

    __tablename__ = "task"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        partial_index(
            "ix_task_pending",
            "job_key",
            "group_key",
            "available_at_ms",
            "id",
            where=is_in(column("state"), [TaskState.PENDING]),
        ),
        partial_index(
            "ix_task_running",
            "job_key",
            "host_key",
            where=is_in(column("state"), [TaskState.RUNNING]),
        ),
        partial_index(
            "ix_task_lease", "lease_until_ms", where=is_in(column("state"), [TaskState.RUNNING])
        ),
        partial_index(
            "ix_task_host", "host_key", where=is_in(column("state"), [TaskState.RUNNING])
        ),
        {"postgresql_with": _TASK_STORAGE},
    )

    id: int = Field(sa_column=Column(Key, primary_key=True, autoincrement=False))
    job_key: int = Field(sa_type=BigInteger)
    state: TaskState = Field(sa_type=text_enum(TaskState))
    attempt: int = 0
    losses: int = 0
    turned_away: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """Number of refusals by hosts that were not charged to the prompt."""
    splits: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """Number of failed calls with this text that were split."""
    available_at_ms: int = Field(sa_type=BigInteger)
    lease_token: int | None = Field(default=None, sa_type=BigInteger)
    lease_owner: str | None = Field(default=None, max_length=64)
    lease_until_ms: int | None = Field(default=None, sa_type=BigInteger)
    host_key: int | None = Field(default=None, sa_type=BigInteger)
    """The host whose slot it takes; None of a text that another one's call takes along."""
    group_key: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    """The load or prefix group of the prompt; see `domain.scheduling.load_groups`."""


class GroupRow(Row, table=True):
    """A load group (a model with its load options) or a prefix group.

    The row of key 0 is the group of all work without grouping.
    """

    __tablename__ = "model_group"  # pyright: ignore[reportAssignmentType]

    key: int | None = Field(default=None, sa_column=Column(Key, primary_key=True))
    name: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    load_key: int | None = Field(default=None, sa_type=BigInteger)
    """The load group of a prefix group."""
    last_host_key: int | None = Field(default=None, sa_type=BigInteger)
    """The host that ran a prefix group last, and has its beginning evaluated."""
    last_run_ms: int = Field(
        default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"}
    )
    """When the prefix group ran last, to some seconds."""


class JobGroupRow(Row, table=True):
    """The groups of a job's prompts; written when the prompts are stored."""

    __tablename__ = "job_group"  # pyright: ignore[reportAssignmentType]

    job_key: int = Field(sa_column=Column(Key, primary_key=True, autoincrement=False))
    group_key: int = Field(sa_column=Column(Key, primary_key=True, autoincrement=False))
    load_key: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    """The load group: the group itself, or the one that a prefix group is part of."""


class HostGroupRow(Row, table=True):
    """The load groups that a host runs now: only their prompts start there."""

    __tablename__ = "host_group"  # pyright: ignore[reportAssignmentType]

    host_key: int = Field(sa_column=Column(Key, primary_key=True, autoincrement=False))
    group_key: int = Field(sa_column=Column(Key, primary_key=True, autoincrement=False))
    since_ms: int = Field(sa_type=BigInteger)


class ResultRow(Row, table=True):
    """The outcome of a prompt; inserted once. Its primary key is what makes it once."""

    __tablename__ = "result"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        # Failures are looked for among many successes.
        partial_index(
            "ix_result_not_succeeded", "id", where=~is_in(column("status"), [TaskState.SUCCEEDED])
        ),
        # For those who follow a job: what has been stored since, in the order of the commits.
        Index("ix_result_event", "event_id", unique=True),
    )

    id: int = Field(sa_column=Column(Key, primary_key=True, autoincrement=False))
    status: TaskState = Field(sa_type=text_enum(TaskState))
    model: str = Field(sa_type=Text)
    response: str | None = Field(default=None, sa_type=Text)
    thinking: str | None = Field(default=None, sa_type=Text)
    tool_calls: list[Any] | None = Field(
        default=None, sa_column=Column(JSON(none_as_null=True), nullable=True)
    )
    logprobs: list[Any] | None = Field(
        default=None, sa_column=Column(JSON(none_as_null=True), nullable=True)
    )
    error_code: ErrorCode | None = Field(default=None, sa_type=text_enum(ErrorCode))
    error: str | None = Field(default=None, sa_type=Text)
    attempts: int
    done_reason: str | None = Field(default=None, max_length=64)
    host: str | None = Field(default=None, sa_type=Text)
    total_duration: int | None = Field(default=None, sa_type=BigInteger)
    load_duration: int | None = Field(default=None, sa_type=BigInteger)
    prompt_eval_count: int | None = Field(default=None, sa_type=BigInteger)
    prompt_eval_duration: int | None = Field(default=None, sa_type=BigInteger)
    eval_count: int | None = Field(default=None, sa_type=BigInteger)
    eval_duration: int | None = Field(default=None, sa_type=BigInteger)
    latency_s: float | None = None
    ttft_s: float | None = None
    started_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    finished_at_ms: int = Field(sa_type=BigInteger)
    defect: str | None = Field(default=None, max_length=32)
    """The defect of the answer, whether it counts as a failure or not."""
    embedding: bytes | None = Field(default=None, sa_type=LargeBinary)
    """The vectors of the prompt, as `domain.vectors` packs them."""
    event_id: int | None = Field(default=None, sa_type=BigInteger)
    """`job_key << 32 | number`; the number is drawn from `job_stats.last_event` under its lock."""


class HostRow(Row, table=True):
    """An Ollama host: the row that is locked while its running calls are counted."""

    __tablename__ = "host"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (UniqueConstraint("url", "machine"),)

    key: int | None = Field(default=None, sa_column=Column(Key, primary_key=True))
    url: str = Field(max_length=500)
    machine: str = Field(default="", max_length=64, sa_column_kwargs={"server_default": ""})
    """The machine that the address is of; empty, so that it is unique: it is of the network."""
    held_by: int | None = Field(default=None, sa_type=BigInteger)
    """Key of the benchmark that holds the host exclusively: no batch's prompt starts there."""
    closed_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    """Moment at which the host was taken out of service; None while it takes work."""
    switching_to: int | None = Field(default=None, sa_type=BigInteger)
    """Key of the load group that the host switches to after draining; None: no switch."""


# The same tables for SQLAlchemy Core, which every statement of the store is written in.
job = metadata.tables["job"]
job_stats = metadata.tables["job_stats"]
prompt = metadata.tables["prompt"]
task = metadata.tables["task"]
result = metadata.tables["result"]
model_group = metadata.tables["model_group"]
job_group = metadata.tables["job_group"]
host_group = metadata.tables["host_group"]
host = metadata.tables["host"]
