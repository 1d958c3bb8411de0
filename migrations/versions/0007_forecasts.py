"""Forecasts: what workers have seen of hosts, and since when a job's rate is measured.

Revision: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("job", sa.Column("rate_since_ms", sa.BigInteger(), nullable=True))
    op.add_column("job", sa.Column("rate_since_event", sa.BigInteger(), nullable=True))
    op.create_table(
        "host_report",
        sa.Column("worker_id", sa.String(64), nullable=False),
        sa.Column("host_key", _KEY, autoincrement=False, nullable=False),
        sa.Column("slots", sa.Integer(), nullable=True),
        sa.Column("error_code", sa.String(32), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("next_look_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("on_trial", sa.Boolean(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("latency_s", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("worker_id", "host_key", name=op.f("pk_host_report")),
    )
    op.create_table(
        "host_pace",
        sa.Column("worker_id", sa.String(64), nullable=False),
        sa.Column("host_key", _KEY, autoincrement=False, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("call_s", sa.Float(), nullable=False),
        sa.Column("measured_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("worker_id", "host_key", "model", name=op.f("pk_host_pace")),
    )


def downgrade() -> None:
    for table in ("host_pace", "host_report"):
        op.drop_table(table)
    op.drop_column("job", "rate_since_event")
    op.drop_column("job", "rate_since_ms")
