"""The table of requests that changed a batch, and of ends that a retry reverted."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Text
from sqlmodel import Field

from promptmill.domain.lifecycle import JobState
from promptmill.domain.reading import HistoryEvent
from promptmill.store.db.tables.base import Key, Row, metadata, text_enum


class JobHistoryRow(Row, table=True):
    """One event of a batch that the batch's own row does not keep."""

    __tablename__ = "job_history"  # pyright: ignore[reportAssignmentType]

    job_key: int = Field(sa_column=Column(Key, primary_key=True, autoincrement=False))
    number: int = Field(primary_key=True)
    """Counted from 1 within the batch."""
    at_ms: int = Field(sa_type=BigInteger)
    event: HistoryEvent = Field(sa_type=text_enum(HistoryEvent))
    state: JobState = Field(sa_type=text_enum(JobState))
    """The state of the batch after the event."""
    key_id: str | None = Field(default=None, max_length=80)
    """The API key that the request came with."""
    detail: str | None = Field(default=None, sa_type=Text)


# The same table for SQLAlchemy Core.
job_history = metadata.tables["job_history"]
