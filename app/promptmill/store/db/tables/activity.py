"""The tables of activity: results counted by minute and hour, and attempts without a result.

What holds for all tables is in `batches`. Nothing here decides about a prompt.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Text, false
from sqlmodel import Field

from promptmill.domain.outcomes import ErrorCode
from promptmill.store.db.tables.base import Key, Row, metadata, text_enum


class ActivityRow(Row, table=True):
    """Results of one minute or hour, of one host and model, that ended alike."""

    __tablename__ = "activity"  # pyright: ignore[reportAssignmentType]
    # Rows are read by ranges of their key, so SQLite keeps them in its order.
    __table_args__ = ({"sqlite_with_rowid": False},)

    span_s: int = Field(primary_key=True)
    """60 or 3600: every result is in one row of each."""
    at_s: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    """Start of the interval, in seconds since 1970."""
    host: str = Field(sa_column=Column(Text, primary_key=True))
    model: str = Field(sa_column=Column(Text, primary_key=True))
    outcome: str = Field(max_length=32, primary_key=True)
    """`succeeded`, or the error code of the results."""
    prompts: int = Field(sa_type=BigInteger)
    prompt_tokens: int = Field(sa_type=BigInteger)
    completion_tokens: int = Field(sa_type=BigInteger)
    latency_s: float = Field(sa_column=Column(Float, nullable=False))
    """Seconds of all calls together."""


class AttemptRow(Row, table=True):
    """An attempt that ended without a result: its prompt went back to the queue."""

    __tablename__ = "attempt"  # pyright: ignore[reportAssignmentType]

    id: int = Field(sa_column=Column(Key, primary_key=True, autoincrement=False))
    """The prompt's id; as the other tables of prompts, this one has no foreign key."""
    token: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    """The token of the attempt's lease."""
    number: int
    """The number of the attempt, counted from 1; one that was not charged is made again."""
    charged: bool = Field(sa_column=Column(Boolean, nullable=False, server_default=false()))
    host_key: int | None = Field(default=None, sa_type=BigInteger)
    started_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    """Moment of the call's start; None if its worker died."""
    ended_at_ms: int = Field(sa_type=BigInteger)
    error_code: ErrorCode = Field(sa_type=text_enum(ErrorCode))
    error: str = Field(sa_type=Text)


# The same tables for SQLAlchemy Core.
activity = metadata.tables["activity"]
attempt = metadata.tables["attempt"]
