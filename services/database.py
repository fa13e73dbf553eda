"""How the read model's database is opened: by its one writer (the recorder), and by readers.

SQLite (`sqlite+aiosqlite:////path/file.db`) by default, PostgreSQL (`postgresql+psycopg://…`) by URL.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from schemas.tables import metadata


def _to_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


_OPTIONS: dict[str, Any] = {
    "json_serializer": _to_json,
    "json_deserializer": msgspec.json.decode,
    "hide_parameters": True,  # definitions do not belong in error messages
}


def sqlite_url(file: Path) -> str:
    """Return the URL of a SQLite file."""
    return f"sqlite+aiosqlite:///{file.resolve()}"


def writer(url: str) -> AsyncEngine:
    """Return an engine with one connection, whose transactions take the write lock when they begin."""
    engine = create_async_engine(url, pool_size=1, max_overflow=0, **_OPTIONS)
    if engine.dialect.name == "sqlite":
        # NORMAL: a power failure may take the last transactions, never the file; the log gives them back
        _prepare_sqlite(engine, "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=10000")

        @event.listens_for(engine.sync_engine, "begin")
        def begin(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def reader(url: str) -> AsyncEngine:
    """Return an engine that cannot write."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        uri = f"sqlite+aiosqlite:///file:{parsed.database}?mode=ro&uri=true"
        engine = create_async_engine(uri, pool_size=4, max_overflow=4, **_OPTIONS)
        _prepare_sqlite(engine, "query_only=ON", "busy_timeout=5000")
        return engine
    return create_async_engine(
        url,
        pool_size=4,
        max_overflow=4,
        pool_pre_ping=True,
        execution_options={"postgresql_readonly": True},
        **_OPTIONS,
    )


@asynccontextmanager
async def snapshot(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Give a connection on which all that is read is of one moment, whatever is written meanwhile."""
    async with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            await connection.exec_driver_sql("BEGIN")  # a reader's driver does not begin by itself
        else:
            await connection.execution_options(isolation_level="REPEATABLE READ")
        yield connection
        await connection.rollback()


def _prepare_sqlite(engine: AsyncEngine, *pragmas: str) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def connect(connection: DBAPIConnection, _record: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]  # the driver must not begin on its own
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()


async def create(url: str) -> None:
    """Create the tables that are not there yet."""
    engine = writer(url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
    finally:
        await engine.dispose()
