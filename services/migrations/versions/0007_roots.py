"""Where disks and repositories may be: settings, found anew in the second copy of the log."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

NAMES = ("disk_roots", "repository_roots", "block_devices")
LOSES = tuple(f"settings.{name}" for name in NAMES)


def upgrade() -> None:
    """Add the columns, filled from the last word of the events on the settings."""
    op.add_column("settings", sa.Column("disk_roots", sa.JSON(none_as_null=True)))
    op.add_column("settings", sa.Column("repository_roots", sa.JSON(none_as_null=True)))
    op.add_column("settings", sa.Column("block_devices", sa.Boolean(), nullable=False, server_default=sa.false()))
    connection = op.get_bind()
    last = sa.text("SELECT body FROM events WHERE subject = 'catalog.settings.engine' ORDER BY sequence DESC LIMIT 1")
    body = connection.execute(last).scalar()
    found = {} if body is None else msgspec.json.decode(body)["data"]["definition"]
    if given := {name: found[name] for name in NAMES if name in found}:
        settings = sa.table(
            "settings",
            sa.column("disk_roots", sa.JSON(none_as_null=True)),
            sa.column("repository_roots", sa.JSON(none_as_null=True)),
            sa.column("block_devices", sa.Boolean()),
        )
        connection.execute(sa.update(settings).values(**given))


def downgrade() -> None:
    """Take the columns away."""
    for name in NAMES:
        op.drop_column("settings", name)
