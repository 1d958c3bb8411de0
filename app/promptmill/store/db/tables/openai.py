"""The tables of the OpenAI dialect: files with their content, and batches made of them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Index, LargeBinary, Text, column
from sqlmodel import Field

from promptmill.domain.openai import STAGES_UNDER_WAY, FileState, Purpose, Stage
from promptmill.store.db.tables.base import Key, Row, is_in, metadata, partial_index, text_enum


class FileRow(Row, table=True):
    """A file; its content is in `file_chunk`."""

    __tablename__ = "file"  # pyright: ignore[reportAssignmentType] - SQLModel declares it otherwise
    __table_args__ = (
        # What is to be removed, or may have been left by a process that died, is little.
        partial_index(
            "ix_file_not_there", "key", where=~is_in(column("state"), [FileState.PROCESSED])
        ),
        Index("ix_file_expires", "expires_at_ms"),
        Index("ix_file_batch", "batch_id"),
        {"sqlite_autoincrement": True},
    )

    key: int | None = Field(default=None, sa_column=Column(Key, primary_key=True))
    id: str = Field(max_length=64, unique=True)
    state: str = Field(max_length=16)
    """The value of a `FileState`."""
    purpose: Purpose = Field(sa_type=text_enum(Purpose))
    filename: str = Field(sa_type=Text)
    bytes: int = Field(default=0, sa_type=BigInteger)
    lines: int = Field(default=0, sa_type=BigInteger)
    sha256: str | None = Field(default=None, max_length=64)
    batch_id: str | None = Field(default=None, max_length=64)
    """The batch that it is the output or the error file of."""
    created_at_ms: int = Field(sa_type=BigInteger)
    received_at_ms: int = Field(sa_type=BigInteger)
    """When its last chunk was stored."""
    expires_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    idempotency_key: str | None = Field(default=None, max_length=255, unique=True)


class FileChunkRow(Row, table=True):
    """A piece of a file's content; all but the last have the same number of bytes."""

    __tablename__ = "file_chunk"  # pyright: ignore[reportAssignmentType]

    file_key: int = Field(sa_column=Column(Key, primary_key=True, autoincrement=False))
    number: int = Field(sa_column=Column(Key, primary_key=True, autoincrement=False))
    deflated: bytes = Field(sa_type=LargeBinary)


class OpenAIBatchRow(Row, table=True):
    """A batch of the dialect; from the stage `running` on its job has the same id."""

    __tablename__ = "openai_batch"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        partial_index(
            "ix_openai_batch_under_way", "key", where=is_in(column("stage"), STAGES_UNDER_WAY)
        ),
        Index("ix_openai_batch_job_key", "job_key"),
        {"sqlite_autoincrement": True},
    )

    key: int | None = Field(default=None, sa_column=Column(Key, primary_key=True))
    id: str = Field(max_length=64, unique=True)
    stage: Stage = Field(sa_type=text_enum(Stage))
    endpoint: str = Field(max_length=32)
    input_file_id: str = Field(sa_type=Text)
    file_key: int | None = Field(default=None, sa_type=BigInteger)
    """The input file; None when there was none of that id."""
    window: str = Field(max_length=16)
    user_metadata: dict[str, str] | None = Field(
        default=None, sa_column=Column("metadata", JSON(none_as_null=True), nullable=True)
    )
    output_expires_s: int | None = None
    options: dict[str, Any] = Field(sa_type=JSON)
    model: str | None = Field(default=None, sa_type=Text)
    job_key: int | None = Field(default=None, sa_type=BigInteger)
    """Its job, also the hidden one that prompts are read into."""
    errors: list[Any] | None = Field(
        default=None, sa_column=Column(JSON(none_as_null=True), nullable=True)
    )
    output_file_id: str | None = Field(default=None, max_length=64)
    error_file_id: str | None = Field(default=None, max_length=64)
    created_at_ms: int = Field(sa_type=BigInteger)
    expires_at_ms: int = Field(sa_type=BigInteger)
    in_progress_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    cancelling_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    finalizing_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    ended_at_ms: int | None = Field(default=None, sa_type=BigInteger)
    lease_token: int | None = Field(default=None, sa_type=BigInteger)
    lease_owner: str | None = Field(default=None, max_length=64)
    lease_until_ms: int | None = Field(default=None, sa_type=BigInteger)
    idempotency_key: str | None = Field(default=None, max_length=255, unique=True)
    body_hash: str = Field(max_length=64)
    """SHA-256 of all fields of the request."""
    key_id: str | None = Field(default=None, max_length=80)
    """The API key that it was sent with; its job has it too."""


file = metadata.tables["file"]
file_chunk = metadata.tables["file_chunk"]
openai_batch = metadata.tables["openai_batch"]
