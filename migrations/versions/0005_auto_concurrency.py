"""`max_concurrent: auto`: what it has found out, and what went against it.

Revision: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "job",
        sa.Column("auto_concurrency", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.add_column("job", sa.Column("auto_state", sa.JSON(), nullable=True))
    op.add_column(
        "job_stats", sa.Column("setbacks", sa.BigInteger(), nullable=False, server_default="0")
    )


def downgrade() -> None:
    op.drop_column("job_stats", "setbacks")
    op.drop_column("job", "auto_state")
    op.drop_column("job", "auto_concurrency")
