"""The lease that a job permitted to start last, so that an unused permit can be taken back.

Revision: 0009
Revises: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job", sa.Column("last_permit", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("job", "last_permit")
