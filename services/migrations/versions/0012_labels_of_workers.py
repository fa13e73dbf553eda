"""Which labels a worker must have: of VMs, repositories and backups, found anew in the second copy of the log."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TABLES = {"catalog.vm": "vms", "catalog.repository": "repositories", "backup.requested": "backup_jobs"}
LOSES = tuple(f"{table}.worker_labels" for table in TABLES.values())

AT_ONCE = 1000


def upgrade() -> None:
    """Add the columns, filled with what the events say last."""
    for table in TABLES.values():
        op.add_column(table, sa.Column("worker_labels", sa.JSON(), nullable=False, server_default="{}"))
    connection = op.get_bind()
    page = sa.text(
        "SELECT sequence, type, body FROM events "
        "WHERE type IN ('catalog.vm', 'catalog.repository', 'backup.requested') AND body LIKE '%\"worker_labels\":{%' "
        "AND sequence > :after ORDER BY sequence LIMIT :most"
    )
    tables = {
        name: sa.table(name, sa.column("id", sa.String()), sa.column("worker_labels", sa.JSON()))
        for name in TABLES.values()
    }
    after = 0
    while found := connection.execute(page, {"after": after, "most": AT_ONCE}).all():
        after = found[-1].sequence
        for row in found:
            if (one := _labels(row.body)) is not None:
                table = tables[TABLES[row.type]]
                connection.execute(sa.update(table).where(table.c.id == one[0]).values(worker_labels=one[1]))


def _labels(body: str) -> tuple[str, dict[str, str]] | None:
    """Return the id of what a message is about, and its labels; None when it cannot be read, or was deleted."""
    try:
        data: dict[str, Any] = msgspec.json.decode(body)["data"]
        if data["type"] == "backup.requested":
            return data["backup_id"], data["worker_labels"]
        return data["id"], data["definition"]["worker_labels"]
    except (msgspec.DecodeError, KeyError, TypeError):
        return None  # it could not be projected either


def downgrade() -> None:
    """Take the columns away."""
    for table in TABLES.values():
        op.drop_column(table, "worker_labels")
