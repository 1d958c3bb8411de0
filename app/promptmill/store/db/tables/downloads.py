"""The tables of `auto_pull`; what holds for all tables is in `store.db.tables.batches`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Text, column
from sqlmodel import Field

from promptmill.domain.scheduling.downloads import LIVE_PULL_STATES, PullState
from promptmill.store.db.tables.base import Key, Row, is_in, metadata, partial_index, text_enum


class PullRow(Row, table=True):
    """A pull of a model at a host: one lease, because one worker reads the whole stream."""

    __tablename__ = "pull"  # pyright: ignore[reportAssignmentType] - SQLModel declares it otherwise
    __table_args__ = (
        # Makes it one at a time of each model at each host, whoever asks.
        partial_index(
            "ix_pull_live",
            "host_key",
            "model",
            unique=True,
            where=is_in(column("state"), LIVE_PULL_STATES),
        ),
    )

    key: int | None = Field(default=None, sa_column=Column(Key, primary_key=True))
    host_key: int = Field(sa_type=BigInteger)
    model: str = Field(sa_type=Text)
    """The normalised name."""
    name: str = Field(sa_type=Text)
    """The name as a batch wrote it, which is sent to Ollama."""
    state: PullState = Field(sa_type=text_enum(PullState))
    detail: str | None = Field(default=None, sa_type=Text)
    completed_bytes: int | None = Field(default=None, sa_type=BigInteger)
    total_bytes: int | None = Field(default=None, sa_type=BigInteger)
    error: str | None = Field(default=None, sa_type=Text)
    failures: int = 0
    """Attempts that failed and were charged."""
    available_at_ms: int = Field(sa_type=BigInteger)
    finished_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    lease_token: int | None = Field(default=None, sa_type=BigInteger)
    lease_owner: str | None = Field(default=None, max_length=64)
    lease_until_ms: int | None = Field(default=None, sa_type=BigInteger)


class JobModelRow(Row, table=True):
    """The models that a job with `auto_pull` needs."""

    __tablename__ = "job_model"  # pyright: ignore[reportAssignmentType]

    job_key: int = Field(sa_column=Column(Key, primary_key=True, autoincrement=False))
    model: str = Field(sa_column=Column(Text, primary_key=True))
    """The normalised name."""
    name: str = Field(sa_type=Text)
    """The name as the batch wrote it."""
    awaited: bool = Field(sa_column=Column(Boolean, nullable=False))
    """Whether the job still waits for it."""


class JobPullRow(Row, table=True):
    """The pulls that a job waits or has waited for."""

    __tablename__ = "job_pull"  # pyright: ignore[reportAssignmentType]

    job_key: int = Field(sa_column=Column(Key, primary_key=True, autoincrement=False))
    pull_key: int = Field(sa_column=Column(Key, primary_key=True, autoincrement=False))


# The same tables for SQLAlchemy Core.
pull = metadata.tables["pull"]
job_model = metadata.tables["job_model"]
job_pull = metadata.tables["job_pull"]
