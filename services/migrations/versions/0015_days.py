"""Indexes for what is shown day by day: the backups of a VM, and those that a repository has."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

LOSES = ()


def upgrade() -> None:
    """Let two indexes hold more: what they were for, they are still for."""
    op.create_index("ix_backup_jobs_days", "backup_jobs", ["context_id", "created_at", "status"])
    op.drop_index("ix_backup_jobs_context_id", "backup_jobs")
    op.drop_index("ix_backup_jobs_repository", "backup_jobs")
    op.create_index("ix_backup_jobs_repository", "backup_jobs", ["repository_id", "status", "completed_at"])


def downgrade() -> None:
    """Make them as they were."""
    op.drop_index("ix_backup_jobs_repository", "backup_jobs")
    op.create_index("ix_backup_jobs_repository", "backup_jobs", ["repository_id", "status"])
    op.create_index("ix_backup_jobs_context_id", "backup_jobs", ["context_id"])
    op.drop_index("ix_backup_jobs_days", "backup_jobs")
