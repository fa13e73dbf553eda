"""The settings of the whole engine, found anew in the second copy of the log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

LOSES = ("settings",)


def upgrade() -> None:
    """Add a table, filled from the last word of the events on it."""
    settings = op.create_table(
        "settings",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("max_concurrent_jobs", sa.Integer()),
        sa.Column("keep_days", sa.Integer()),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True)),
        sa.Column("updated_by", sa.String(255)),
    )
    connection = op.get_bind()
    last = sa.text("SELECT body FROM events WHERE subject = 'catalog.settings.engine' ORDER BY sequence DESC LIMIT 1")
    body = connection.execute(last).scalar()
    if body is None:
        return
    found = msgspec.json.decode(body)["data"]["definition"]
    row = {name: found.get(name) for name in ("max_concurrent_jobs", "keep_days", "version", "updated_by")}
    at = _moment(found.get("updated_at"), naive=connection.dialect.name == "sqlite")
    op.bulk_insert(settings, [{"id": "engine", **row, "updated_at": at}])
    identity = {"id": "settings/engine", "number": found["version"]}
    connection.execute(sa.text("DELETE FROM identities WHERE id = :id"), {"id": identity["id"]})
    connection.execute(sa.text("INSERT INTO identities (id, number) VALUES (:id, :number)"), identity)


def _moment(text: Any, *, naive: bool) -> datetime | None:
    if text is None:
        return None
    at = datetime.fromisoformat(text).astimezone(UTC)
    return at.replace(tzinfo=None) if naive else at


def downgrade() -> None:
    """Take it away."""
    op.drop_table("settings")
