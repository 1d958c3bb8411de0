"""The table of usage limits: which groups a host takes no prompts of, and until when."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Text
from sqlmodel import Field

from promptmill.store.db.tables.base import Key, Row, metadata


class HostLimitRow(Row, table=True):
    """A host answered 429 for a model: no claim gives out prompts of that group there until then.

    The row stays when the time is over, until the host answers for the model or a worker starts.
    """

    __tablename__ = "host_limit"  # pyright: ignore[reportAssignmentType]

    host_key: int = Field(sa_column=Column(Key, primary_key=True, autoincrement=False))
    group_key: int = Field(sa_column=Column(Key, primary_key=True, autoincrement=False))
    """The group that a host takes up for the prompts: a model with its load options."""
    until_ms: int = Field(sa_type=BigInteger)
    error: str = Field(sa_type=Text)
    """Error of the host, in a sentence."""


# The same table for SQLAlchemy Core.
host_limit = metadata.tables["host_limit"]
