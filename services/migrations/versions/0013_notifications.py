"""Who is told of what, and each message to them; nothing of it was on the log before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

LOSES = ("notifications", "notification_deliveries")

_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "notifications",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("updated_at", _INSTANT, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("flows", sa.JSON(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("first_failure", sa.Boolean(), nullable=False),
        sa.Column("recovered", sa.Boolean(), nullable=False),
        sa.Column("digest_minutes", sa.Integer()),
        sa.Column("digest_at", sa.String(16)),
        sa.Column("timezone", sa.String(64), nullable=False),
        sa.Column("digest_empty", sa.Boolean(), nullable=False),
        sa.Column("receiver", sa.String(16), nullable=False),
        sa.Column("url", sa.Text()),
        sa.Column("secret_env", sa.String(255)),
        sa.Column("secret_file", sa.Text()),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_notifications_name", "notifications", ["name"])
    op.create_table(
        "notification_deliveries",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("notification_id", sa.String(64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("retrying_since", _INSTANT),
        sa.Column("next_try", _INSTANT),
        sa.Column("last_error", sa.Text()),
        sa.Column("reply", sa.Text()),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("settled_at", _INSTANT),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "ix_notification_deliveries_notification", "notification_deliveries", ["notification_id", "sequence"]
    )
    op.create_index("ix_notification_deliveries_state", "notification_deliveries", ["state", "notification_id"])


def downgrade() -> None:
    """Take them away."""
    op.drop_table("notification_deliveries")
    op.drop_table("notifications")
