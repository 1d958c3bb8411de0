"""Groups: which model, with which load options, a prompt needs and a host runs.

Revision: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_PENDING = "state = 'pending'"


def upgrade() -> None:
    op.create_table(
        "model_group",
        sa.Column("key", _KEY, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_model_group")),
        sa.UniqueConstraint("name", name=op.f("uq_model_group_name")),
    )
    op.create_table(
        "job_group",
        sa.Column("job_key", _KEY, autoincrement=False, nullable=False),
        sa.Column("group_key", _KEY, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("job_key", "group_key", name=op.f("pk_job_group")),
    )
    op.create_table(
        "host_group",
        sa.Column("host_key", _KEY, autoincrement=False, nullable=False),
        sa.Column("group_key", _KEY, autoincrement=False, nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("host_key", "group_key", name=op.f("pk_host_group")),
    )
    op.add_column("host", sa.Column("switching_to", sa.BigInteger(), nullable=True))
    op.add_column(
        "task", sa.Column("group_key", sa.BigInteger(), nullable=False, server_default="0")
    )
    # What is stored already is of the one group that any host runs.
    op.execute("INSERT INTO model_group (key, name) VALUES (0, '')")
    op.execute("INSERT INTO job_group (job_key, group_key) SELECT key, 0 FROM job")
    _replace_pending_index("job_key", "group_key", "available_at_ms", "id")


def downgrade() -> None:
    _replace_pending_index("job_key", "available_at_ms", "id")
    op.drop_column("task", "group_key")
    op.drop_column("host", "switching_to")
    for table in ("host_group", "job_group", "model_group"):
        op.drop_table(table)


def _replace_pending_index(*columns: str) -> None:
    op.drop_index("ix_task_pending", table_name="task")
    op.create_index(
        "ix_task_pending",
        "task",
        list(columns),
        sqlite_where=sa.text(_PENDING),
        postgresql_where=sa.text(_PENDING),
    )
