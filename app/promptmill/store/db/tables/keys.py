"""The tables of API keys and sessions. Neither is ever stored itself, only its digest."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger
from sqlmodel import Field

from promptmill.store.db.tables.base import Row, metadata


class ApiKeyRow(Row, table=True):
    """A key; see `promptmill.domain.access.keys`."""

    __tablename__ = "api_key"  # pyright: ignore[reportAssignmentType]

    id: str = Field(max_length=16, primary_key=True)
    name: str = Field(max_length=64, unique=True)
    hash: str = Field(max_length=64)
    old_hash: str | None = Field(default=None, max_length=64)
    old_until_ms: int | None = Field(default=None, sa_type=BigInteger)
    scopes: list[str] = Field(sa_type=JSON)
    limits: dict[str, Any] = Field(sa_type=JSON)
    created_at_ms: int = Field(sa_type=BigInteger)
    expires_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    revoked_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    last_used_at_ms: int | None = Field(default=None, sa_type=BigInteger)


class SessionRow(Row, table=True):
    """A browser that has given a key; see `promptmill.services.access.sessions`."""

    __tablename__ = "session"  # pyright: ignore[reportAssignmentType]

    hash: str = Field(max_length=64, primary_key=True)
    key_id: str = Field(max_length=80)
    key_hash: str = Field(max_length=64)
    created_at_ms: int = Field(sa_type=BigInteger)
    expires_at_ms: int = Field(sa_type=BigInteger)


api_key = metadata.tables["api_key"]
session = metadata.tables["session"]
