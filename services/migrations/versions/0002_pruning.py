"""Pruning: counts of what was pruned, and the indexes that finding it needs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COUNTS = ("pruned_executions", "pruned_successful", "pruned_failed")
LOSES = tuple(f"protection_flows.{name}" for name in COUNTS)


def upgrade() -> None:
    """Add columns and indexes."""
    for name in COUNTS:
        op.add_column("protection_flows", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    executions = "protection_flow_executions"
    op.create_index("ix_protection_flow_executions_occurrence", executions, ["flow_id", "occurrence"])
    op.create_index("ix_protection_flow_executions_completed", executions, ["completed_at"])
    op.create_index("ix_backup_jobs_last_good", "backup_jobs", ["context_id", "status", "completed_at"])


def downgrade() -> None:
    """Take them away."""
    op.drop_index("ix_backup_jobs_last_good", "backup_jobs")
    op.drop_index("ix_protection_flow_executions_completed", "protection_flow_executions")
    op.drop_index("ix_protection_flow_executions_occurrence", "protection_flow_executions")
    for name in COUNTS:
        op.drop_column("protection_flows", name)
