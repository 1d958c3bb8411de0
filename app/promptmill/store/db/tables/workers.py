"""The tables of workers, and of what workers see of hosts.

What holds for all tables is in `base`. No decision about a prompt depends on these rows: displays
and forecasts read them.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Text
from sqlmodel import Field

from promptmill.domain.outcomes import ErrorCode
from promptmill.store.db.tables.base import Key, Row, metadata, text_enum


class WorkerRow(Row, table=True):
    """A worker, living or past, for display; safety rests on the leases."""

    __tablename__ = "worker"  # pyright: ignore[reportAssignmentType]

    id: str = Field(max_length=64, primary_key=True)
    """The worker's id, the owner in its leases."""
    host_name: str = Field(max_length=255)
    pid: int
    version: str = Field(max_length=64)
    concurrency: int
    started_at_ms: int = Field(sa_type=BigInteger)
    seen_at_ms: int = Field(sa_type=BigInteger)
    exchanged_at_ms: int = Field(sa_type=BigInteger)
    """When the worker's dispatcher last had nothing left to record, as of `seen_at_ms`."""
    stopped_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    finished: int = Field(default=0, sa_type=BigInteger)
    """Results stored."""
    fenced: int = Field(default=0, sa_type=BigInteger)
    """Outcomes dropped, because their leases had been lost."""


class HostReportRow(Row, table=True):
    """A host as a worker sees it; see `domain.hosts.reports`."""

    __tablename__ = "host_report"  # pyright: ignore[reportAssignmentType]

    worker_id: str = Field(max_length=64, primary_key=True)
    host_key: int = Field(sa_column=Column(Key, primary_key=True, autoincrement=False))
    slots: int | None = None
    error_code: ErrorCode | None = Field(default=None, sa_type=text_enum(ErrorCode))
    """Why the host is in quarantine; None while it takes work."""
    error: str | None = Field(default=None, sa_type=Text)
    next_look_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    on_trial: bool
    calls: int = Field(sa_type=BigInteger)
    failed: int = Field(sa_type=BigInteger)
    latency_s: float | None = None


class HostPaceRow(Row, table=True):
    """The speed of a host with prompts of a model, as a worker has measured it."""

    __tablename__ = "host_pace"  # pyright: ignore[reportAssignmentType]

    worker_id: str = Field(max_length=64, primary_key=True)
    host_key: int = Field(sa_column=Column(Key, primary_key=True, autoincrement=False))
    model: str = Field(sa_column=Column(Text, primary_key=True))
    call_s: float
    measured_at_ms: int = Field(sa_type=BigInteger)


# The same tables for SQLAlchemy Core.
worker = metadata.tables["worker"]
host_report = metadata.tables["host_report"]
host_pace = metadata.tables["host_pace"]
