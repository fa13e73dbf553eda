"""The index that finds a definition as it was before a change."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

LOSES = ()

DEFINITIONS = sa.text("subject LIKE 'catalog.%'")


def upgrade() -> None:
    """Add it."""
    op.create_index(
        "ix_events_definitions",
        "events",
        ["subject", "sequence"],
        sqlite_where=DEFINITIONS,
        postgresql_where=DEFINITIONS,
    )


def downgrade() -> None:
    """Take it away."""
    op.drop_index("ix_events_definitions", "events")
