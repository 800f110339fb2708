"""Which repositories an app in an environment is released from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "deploykit_repositories",
        sa.Column("app", sa.String, primary_key=True),
        sa.Column("environment", sa.String, primary_key=True),
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("repository", sa.Text, nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
    )


def downgrade() -> None:
    raise NotImplementedError("a ledger has no downgrade: its entries must stay")
