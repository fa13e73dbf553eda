"""Jitter: the field's word for what was called spread."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

LOSES = ()


def upgrade() -> None:
    """Rename the column."""
    op.execute("ALTER TABLE schedules RENAME COLUMN spread_seconds TO jitter_seconds")


def downgrade() -> None:
    """Give it its old name."""
    op.execute("ALTER TABLE schedules RENAME COLUMN jitter_seconds TO spread_seconds")
