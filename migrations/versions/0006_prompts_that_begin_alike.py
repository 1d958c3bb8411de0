"""Prompts that begin alike are groups of their own, parts of the one that a host takes up.

Revision: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("model_group", sa.Column("load_key", sa.BigInteger(), nullable=True))
    op.add_column("model_group", sa.Column("last_host_key", sa.BigInteger(), nullable=True))
    op.add_column(
        "model_group", sa.Column("last_run_ms", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.add_column(
        "job_group", sa.Column("load_key", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.execute("UPDATE job_group SET load_key = group_key")


def downgrade() -> None:
    # A host of the older version runs whole groups: what begins alike goes back into them.
    op.execute(
        "UPDATE task SET group_key = (SELECT load_key FROM model_group WHERE key = task.group_key)"
        " WHERE group_key IN (SELECT key FROM model_group WHERE load_key IS NOT NULL)"
    )
    op.execute(
        "INSERT INTO job_group (job_key, group_key, load_key)"
        " SELECT DISTINCT job_key, load_key, load_key FROM job_group AS part"
        " WHERE group_key <> load_key AND NOT EXISTS (SELECT 1 FROM job_group AS whole"
        " WHERE whole.job_key = part.job_key AND whole.group_key = part.load_key)"
    )
    op.execute("DELETE FROM job_group WHERE group_key <> load_key")
    op.execute("DELETE FROM model_group WHERE load_key IS NOT NULL")
    op.drop_column("job_group", "load_key")
    for column in ("last_run_ms", "last_host_key", "load_key"):
        op.drop_column("model_group", column)
