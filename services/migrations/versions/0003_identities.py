"""Identities: what the log has said once, found anew in the second copy of it; and rounds of requests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

LOSES = ("identities", "backup_jobs.round")


def upgrade() -> None:
    """Add a table, filled from the events, and a column."""
    identities = op.create_table(
        "identities",
        sa.Column("id", sa.String(192), primary_key=True),
        sa.Column("number", sa.BigInteger(), nullable=False),
    )
    op.add_column("backup_jobs", sa.Column("round", sa.Integer(), nullable=False, server_default="0"))
    op.execute("UPDATE backup_jobs SET round = 1 WHERE requested_at IS NOT NULL")
    found: dict[str, int] = {}
    types = "type IN ('flow.started', 'flow.skipped', 'flow.planned') OR type LIKE 'catalog.%'"
    connection = op.get_bind()
    known = set(connection.execute(sa.text("SELECT id FROM protection_flow_executions")).scalars())
    events = connection.execute(sa.text(f"SELECT type, time, body FROM events WHERE {types} ORDER BY sequence"))  # noqa: S608  constant
    for kind, time, body in events:
        try:
            found.update(_identities(kind, time, msgspec.json.decode(body)["data"], known))
        except (msgspec.DecodeError, KeyError, ValueError):
            continue  # it could not be projected either
    rows = [{"id": id_, "number": number} for id_, number in found.items()]
    for start in range(0, len(rows), 1000):
        op.bulk_insert(identities, rows[start : start + 1000])


def _identities(kind: str, time: Any, data: dict[str, Any], known: set[str]) -> Iterator[tuple[str, int]]:
    """Yield what an event says once, and its version."""
    if kind == "flow.planned":
        if data["execution_id"] in known:
            yield f"plan/{data['execution_id']}/{data['part']}", 1
    elif kind in {"flow.started", "flow.skipped"}:
        yield f"execution/{data['execution_id']}", 1
    elif kind.startswith("catalog."):
        kind, definition = kind.removeprefix("catalog."), data["definition"]
        if kind == "freeze":
            yield f"{kind}/{data['id']}", data["version"]
        elif definition is None:
            yield f"{kind}/{data['id']}/deleted/{_instant(time)}", data["version"]
        else:
            yield f"{kind}/{data['id']}/{_instant(definition['created_at'])}", data["version"]
        if kind == "flow" and definition is not None:
            yield f"flow/{data['id']}", 1


def _instant(time: Any) -> str:
    at = datetime.fromisoformat(time) if isinstance(time, str) else time
    return (at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)).isoformat().replace("+00:00", "Z")


def downgrade() -> None:
    """Take them away."""
    op.drop_column("backup_jobs", "round")
    op.drop_table("identities")
