"""Executions that wait for their turn have rows: `started_at` is null until they begin; lists go by `created_at`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

LOSES = ()  # rows of what has not begun: they come again with its beginning

TABLE = "protection_flow_executions"
FLOW, NEWEST, STARTED = (f"ix_{TABLE}_{name}" for name in ("flow", "newest", "started"))


def upgrade() -> None:
    """Let the start be missing."""
    with op.batch_alter_table(TABLE) as batch:
        batch.drop_index(FLOW)
        batch.drop_index(NEWEST)
        batch.alter_column("started_at", existing_type=sa.DateTime(timezone=True), nullable=True)
        batch.create_index(FLOW, ["flow_id", "created_at", "id"])
        batch.create_index(NEWEST, ["created_at", "id"])
        batch.create_index(STARTED, ["started_at"])


def downgrade() -> None:
    """Drop the rows of what never began: older code makes a row when it begins."""
    op.execute("DELETE FROM protection_flow_executions WHERE started_at IS NULL")
    with op.batch_alter_table(TABLE) as batch:
        batch.drop_index(FLOW)
        batch.drop_index(NEWEST)
        batch.drop_index(STARTED)
        batch.alter_column("started_at", existing_type=sa.DateTime(timezone=True), nullable=False)
        batch.create_index(FLOW, ["flow_id", "started_at", "id"])
        batch.create_index(NEWEST, ["started_at", "id"])
