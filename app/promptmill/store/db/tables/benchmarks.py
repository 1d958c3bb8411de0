"""The tables of benchmarks; what holds for all tables is in `store.db.tables.batches`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Text, column
from sqlmodel import Field

from promptmill.domain.benchmarks.records import Phase
from promptmill.domain.lifecycle import LIVE_JOB_STATES, JobState, TaskState
from promptmill.domain.outcomes import ErrorCode
from promptmill.store.db.tables.base import Key, Row, is_in, metadata, partial_index, text_enum


class BenchmarkRow(Row, table=True):
    """A benchmark: one lease for the whole of it, because a worker measures it from end to end."""

    __tablename__ = "benchmark"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        partial_index("ix_benchmark_alive", "key", where=is_in(column("state"), LIVE_JOB_STATES)),
        partial_index("ix_benchmark_deleted", "key", where=column("deleted_at_ms").is_not(None)),
        {"sqlite_autoincrement": True},
    )

    key: int | None = Field(default=None, sa_column=Column(Key, primary_key=True))
    id: str = Field(max_length=64, unique=True)
    state: JobState = Field(sa_type=text_enum(JobState))
    spec: dict[str, Any] = Field(sa_type=JSON)
    """The specification, as `store.benchmarks.spec` writes it."""
    user_metadata: dict[str, str] = Field(sa_column=Column("metadata", JSON, nullable=False))
    environment: dict[str, Any] = Field(sa_type=JSON)
    idempotency_key: str | None = Field(default=None, max_length=255, unique=True)
    body_hash: str | None = Field(default=None, max_length=64)
    error: str | None = Field(default=None, sa_type=Text)
    total: int
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    cancelled: int = 0
    recorded: int = 0
    """Runs stored, those that were made again in a later session included."""
    sessions: int = 0
    created_at_ms: int = Field(sa_type=BigInteger)
    started_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    finished_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    host_key: int | None = Field(default=None, sa_type=BigInteger)
    """The host of its first session: figures of two hosts are never put together."""
    lease_token: int | None = Field(default=None, sa_type=BigInteger)
    lease_owner: str | None = Field(default=None, max_length=64)
    lease_until_ms: int | None = Field(default=None, sa_type=BigInteger)
    deleted_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    key_id: str | None = Field(default=None, max_length=80)
    """The API key that it was sent with."""


class BenchmarkRunRow(Row, table=True):
    """One run of a benchmark; inserted once, never changed."""

    __tablename__ = "benchmark_run"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        # A measured run is kept once; warm-ups are made again in every session.
        partial_index(
            "ix_benchmark_run_measured",
            "benchmark_key",
            "step",
            unique=True,
            where=is_in(column("phase"), [Phase.MEASURED]),
        ),
    )

    id: int = Field(sa_column=Column(Key, primary_key=True, autoincrement=False))
    """`benchmark_key << 32 | number`, in the order of recording."""
    benchmark_key: int = Field(sa_type=BigInteger)
    step: int
    session: int
    block: int
    phase: Phase = Field(sa_type=text_enum(Phase))
    model: str = Field(sa_type=Text)
    prompt_index: int
    concurrency: int
    run_index: int
    status: TaskState = Field(sa_type=text_enum(TaskState))
    scheduled_at_ms: int = Field(sa_type=BigInteger)
    started_at_ms: int = Field(sa_type=BigInteger)
    scheduled_s: float
    ended_s: float
    error_code: ErrorCode | None = Field(default=None, sa_type=text_enum(ErrorCode))
    error: str | None = Field(default=None, sa_type=Text)
    done_reason: str | None = Field(default=None, max_length=64)
    latency_s: float | None = None
    client_queue_s: float | None = None
    ttft_s: float | None = None
    ttfo_s: float | None = None
    chunks: int | None = None
    chunk_p50_s: float | None = None
    chunk_p95_s: float | None = None
    chunk_max_s: float | None = None
    total_duration: int | None = Field(default=None, sa_type=BigInteger)
    load_duration: int | None = Field(default=None, sa_type=BigInteger)
    prompt_eval_count: int | None = Field(default=None, sa_type=BigInteger)
    prompt_eval_duration: int | None = Field(default=None, sa_type=BigInteger)
    eval_count: int | None = Field(default=None, sa_type=BigInteger)
    eval_duration: int | None = Field(default=None, sa_type=BigInteger)
    cached_prompt_tokens: int | None = Field(default=None, sa_type=BigInteger)
    response: str | None = Field(default=None, sa_type=Text)
    response_chars: int | None = None
    response_sha256: str | None = Field(default=None, max_length=64)
    flags: list[str] = Field(sa_type=JSON)


# The same tables for SQLAlchemy Core.
benchmark = metadata.tables["benchmark"]
benchmark_run = metadata.tables["benchmark_run"]
