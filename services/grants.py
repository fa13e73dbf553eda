"""What the roles of PostgreSQL may do with the tables: the API's reads, the recorder's writes rows.

SQLite knows no roles: there the API opens the file for reading only (`services/database.py:reader`).
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.pool import NullPool

READ, WRITE = "SELECT", "SELECT, INSERT, UPDATE, DELETE"


class CannotGrant(ValueError):
    """The rights cannot be given: the message says to whom, and why."""


def grant(url: str, *, read: Sequence[str] = (), write: Sequence[str] = ()) -> None:
    """Give roles their rights on the tables that are there, and on those that this role will make. Idempotent.

    `read`: they read all tables. `write`: they write rows too, but not the revision of the tables; nobody makes tables
    but their owner. Raises `CannotGrant`.
    """
    engine = create_engine(url, hide_parameters=True, poolclass=NullPool)
    try:
        if engine.dialect.name != "postgresql":
            raise CannotGrant("roles are PostgreSQL's: a SQLite file has none to grant anything to")
        with engine.begin() as connection:
            # what PostgreSQL before 15 lets everybody do
            connection.execute(text("REVOKE CREATE ON SCHEMA public FROM PUBLIC"))
            for role in read:
                _give(connection, role, READ)
            for role in write:
                _give(connection, role, WRITE)
                connection.execute(text(f"REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM {_quoted(role)}"))
    finally:
        engine.dispose()


def _give(connection: Connection, role: str, rights: str) -> None:
    """Let a role do this, and nothing else, with all tables."""
    name = _quoted(role)
    statements = (
        f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {name}",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM {name}",
        f"GRANT USAGE ON SCHEMA public TO {name}",
        f"GRANT {rights} ON ALL TABLES IN SCHEMA public TO {name}",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT {rights} ON TABLES TO {name}",
    )
    for statement in statements:
        try:
            connection.execute(text(statement))
        except ProgrammingError as error:
            raise CannotGrant(f"{role!r} cannot be granted anything: {str(error.orig).splitlines()[0]}") from error


def _quoted(role: str) -> str:
    """Return a role as SQL's identifier."""
    if not role or "\x00" in role or ":" in role:
        raise CannotGrant(f"{role!r} is no name of a role")
    return '"' + role.replace('"', '""') + '"'
