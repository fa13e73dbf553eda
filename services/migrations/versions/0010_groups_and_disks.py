"""What clients show of groups, and how many disks a backup was asked for; found anew in the requests on the log."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

LOSES = (
    "machine_groups.schedule_id",
    "machine_groups.max_concurrent_vms",
    "machine_groups.priority",
    "backup_jobs.disks_count",
)

AT_ONCE = 1000


def upgrade() -> None:
    """Add the columns, and fill those of backups from the events; an index that counts a repository's backups."""
    op.add_column("machine_groups", sa.Column("schedule_id", sa.String(64)))
    op.add_column("machine_groups", sa.Column("max_concurrent_vms", sa.Integer()))
    op.add_column("machine_groups", sa.Column("priority", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("backup_jobs", sa.Column("disks_count", sa.Integer(), nullable=False, server_default="0"))
    op.drop_index("ix_backup_jobs_repository_id", "backup_jobs")
    op.create_index("ix_backup_jobs_repository", "backup_jobs", ["repository_id", "status"])
    connection = op.get_bind()
    page = sa.text(
        "SELECT sequence, body FROM events WHERE type = 'backup.requested' AND sequence > :after "
        "ORDER BY sequence LIMIT :most"
    )
    change = sa.text("UPDATE backup_jobs SET disks_count = :disks WHERE id = :id")
    after = 0
    while found := connection.execute(page, {"after": after, "most": AT_ONCE}).all():
        after = found[-1].sequence
        if counted := [one for row in found for one in _disks(row.body)]:
            connection.execute(change, counted)


def _disks(body: str) -> Iterator[dict[str, str | int]]:
    """Yield a backup's id and how many disks its request names; nothing of a request that cannot be read."""
    try:
        request = msgspec.json.decode(body)["data"]
        yield {"id": request["backup_id"], "disks": len(request["disks"])}
    except (msgspec.DecodeError, KeyError, TypeError):
        return  # it could not be projected either


def downgrade() -> None:
    """Take them away."""
    op.drop_index("ix_backup_jobs_repository", "backup_jobs")
    op.create_index("ix_backup_jobs_repository_id", "backup_jobs", ["repository_id"])
    op.drop_column("backup_jobs", "disks_count")
    for name in ("priority", "max_concurrent_vms", "schedule_id"):
        op.drop_column("machine_groups", name)
