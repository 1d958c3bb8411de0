"""`auto_pull`: the models that jobs wait for, and the pulls that fetch them.

Revision: 0008
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_LIVE = "state IN ('waiting', 'pulling')"


def upgrade() -> None:
    for name in ("auto_pull", "awaits_models"):
        op.add_column(
            "job", sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false())
        )
    op.create_table(
        "pull",
        sa.Column("key", _KEY, nullable=False),
        sa.Column("host_key", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("completed_bytes", sa.BigInteger(), nullable=True),
        sa.Column("total_bytes", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("available_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("finished_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("lease_token", sa.BigInteger(), nullable=True),
        sa.Column("lease_owner", sa.String(length=64), nullable=True),
        sa.Column("lease_until_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_pull")),
    )
    op.create_index(
        "ix_pull_live",
        "pull",
        ["host_key", "model"],
        unique=True,
        sqlite_where=sa.text(_LIVE),
        postgresql_where=sa.text(_LIVE),
    )
    op.create_table(
        "job_model",
        sa.Column("job_key", _KEY, autoincrement=False, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("awaited", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("job_key", "model", name=op.f("pk_job_model")),
    )
    op.create_table(
        "job_pull",
        sa.Column("job_key", _KEY, autoincrement=False, nullable=False),
        sa.Column("pull_key", _KEY, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("job_key", "pull_key", name=op.f("pk_job_pull")),
    )


def downgrade() -> None:
    for table in ("job_pull", "job_model"):
        op.drop_table(table)
    op.drop_index("ix_pull_live", table_name="pull")
    op.drop_table("pull")
    for name in ("awaits_models", "auto_pull"):
        op.drop_column("job", name)
