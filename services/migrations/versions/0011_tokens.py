"""Tokens of the API: the definitions on the log, without what their secrets are known by."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

from schemas.tables import Moment

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

LOSES = ("tokens",)


def upgrade() -> None:
    """Create the table, and fill it from the last event about each: the log has some where newer code ran before."""
    tokens = op.create_table(
        "tokens",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("groups", sa.JSON(none_as_null=True)),
        sa.Column("expires_at", Moment()),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("revoked_at", Moment()),
        sa.Column("revoked_by", sa.String(255)),
    )
    op.create_index("ix_tokens_name", "tokens", ["name"], unique=True)
    connection = op.get_bind()
    said = sa.text("SELECT body FROM events WHERE subject LIKE 'catalog.token.%' ORDER BY sequence")
    last = {row["id"]: row for body in connection.execute(said).scalars() if (row := _row(body))}
    if last:
        connection.execute(sa.insert(tokens), list(last.values()))


def _row(body: str) -> dict[str, Any] | None:
    """Return a token's row; None when a message cannot be read, which was not projected either."""
    try:
        token = msgspec.json.decode(body)["data"]["definition"]
        row = {
            name: token.get(name) for name in ("id", "name", "role", "groups", "version", "created_by", "revoked_by")
        }
        for name in ("expires_at", "created_at", "revoked_at"):
            row[name] = None if token.get(name) is None else datetime.fromisoformat(token[name])
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError, ValueError):
        return None
    return row


def downgrade() -> None:
    """Drop it. The tokens stay on the log, and open the API of newer code again."""
    op.drop_table("tokens")
