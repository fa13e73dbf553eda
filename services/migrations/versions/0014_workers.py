"""Enrolled workers: the definitions on the log, without what their tokens and secrets are known by."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

from schemas.tables import Moment

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

LOSES = ("workers",)


def upgrade() -> None:
    """Create the table, and fill it from the last event about each: the log has some where newer code ran before."""
    workers = op.create_table(
        "workers",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("expires_at", Moment(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("enrolled_at", Moment()),
        sa.Column("revoked_at", Moment()),
        sa.Column("revoked_by", sa.String(255)),
    )
    op.create_index("ix_workers_name", "workers", ["name"], unique=True)
    connection = op.get_bind()
    said = sa.text("SELECT body FROM events WHERE subject LIKE 'catalog.worker.%' ORDER BY sequence")
    last = {row["id"]: row for body in connection.execute(said).scalars() if (row := _row(body))}
    if last:
        connection.execute(sa.insert(workers), list(last.values()))


def _row(body: str) -> dict[str, Any] | None:
    """Return a worker's row; None when a message cannot be read, which was not projected either."""
    try:
        worker = msgspec.json.decode(body)["data"]["definition"]
        row = {name: worker.get(name) for name in ("id", "name", "labels", "version", "created_by", "revoked_by")}
        for name in ("expires_at", "created_at", "enrolled_at", "revoked_at"):
            row[name] = None if worker.get(name) is None else datetime.fromisoformat(worker[name])
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError, ValueError):
        return None
    return row


def downgrade() -> None:
    """Drop it. The workers stay on the log, and are enrolled for newer code again."""
    op.drop_table("workers")
