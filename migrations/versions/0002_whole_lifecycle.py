"""Pause, expiry, stop rules, uploads in pieces, events in order, and who works.

Revision: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ALIVE_BEFORE = "state IN ('queued', 'running', 'cancelling')"
_ALIVE = "state IN ('queued', 'running', 'paused', 'cancelling')"
_RECEIVING = "state = 'receiving'"


def _columns() -> dict[str, list[sa.Column]]:
    # Made anew for each use: a column belongs to the table that it was once added to.
    return {
        "job": [
            sa.Column("expires_at_ms", sa.BigInteger(), nullable=True),
            sa.Column("max_failures", sa.String(length=32), nullable=True),
            sa.Column("most_failed", sa.Integer(), nullable=True),
            sa.Column("stop_reason", sa.Text(), nullable=True),
            sa.Column("fail_on", sa.JSON(none_as_null=True), nullable=True),
            sa.Column("received_at_ms", sa.BigInteger(), nullable=True),
        ],
        "job_stats": [
            sa.Column("expired", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("last_event", sa.BigInteger(), nullable=False, server_default="0"),
        ],
        "result": [
            sa.Column("defect", sa.String(length=32), nullable=True),
            sa.Column("event_id", sa.BigInteger(), nullable=True),
        ],
    }


def upgrade() -> None:
    for table, columns in _columns().items():
        for column in columns:
            op.add_column(table, column)
    # Results that are there already are numbered by their place in the batch, from 1.
    op.execute("UPDATE result SET event_id = id + 1")
    op.execute("UPDATE job_stats SET last_event = total")
    op.create_index("ix_result_event", "result", ["event_id"], unique=True)
    _replace_alive_index(_ALIVE)
    op.create_index(
        "ix_job_receiving",
        "job",
        ["key"],
        sqlite_where=sa.text(_RECEIVING),
        postgresql_where=sa.text(_RECEIVING),
    )
    op.create_table(
        "worker",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("host_name", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("concurrency", sa.Integer(), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("stopped_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("finished", sa.BigInteger(), nullable=False),
        sa.Column("fenced", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker")),
    )


def downgrade() -> None:
    op.drop_table("worker")
    op.drop_index("ix_job_receiving", table_name="job")
    _replace_alive_index(_ALIVE_BEFORE)
    op.drop_index("ix_result_event", table_name="result")
    for table, columns in _columns().items():
        for column in columns:
            op.drop_column(table, column.name)


def _replace_alive_index(condition: str) -> None:
    op.drop_index("ix_job_alive", table_name="job")
    op.create_index(
        "ix_job_alive",
        "job",
        ["key"],
        sqlite_where=sa.text(condition),
        postgresql_where=sa.text(condition),
    )
