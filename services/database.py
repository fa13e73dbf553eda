"""How the read model's database is opened: by its one writer (the recorder), and by readers.

SQLite (`sqlite+aiosqlite:////path/file.db`) by default, PostgreSQL (`postgresql+psycopg://…`) by URL.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Text, cast, create_engine, event, func, inspect, select
from sqlalchemy import column as sql_column
from sqlalchemy import table as sql_table
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool

from schemas.base import Value

MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 7305  # PostgreSQL's advisory lock: whoever migrates has it alone, whoever writes rows shares it
_REVISION = sql_table("alembic_version", sql_column("version_num"))
_migrating = threading.Lock()  # Alembic keeps what it works on in the process, not in the thread

T = TypeVar("T")


def _to_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


_OPTIONS: dict[str, Any] = {
    "json_serializer": _to_json,
    "json_deserializer": msgspec.json.decode,
    "hide_parameters": True,  # definitions do not belong in error messages
    "poolclass": AsyncAdaptedQueuePool,  # for SQLite in memory too
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
    if "mode=memory" in url:
        engine = create_async_engine(url, pool_size=4, max_overflow=4, **_OPTIONS)
        _prepare_sqlite(engine, "query_only=ON", "read_uncommitted=ON")
        return engine
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


def _migrate(url: str, work: Callable[[Config, Connection], T]) -> T:
    """Do something with the migrations on a connection of its own; one process at a time changes the tables."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    engine = create_engine(url.replace("sqlite+aiosqlite:", "sqlite:"), hide_parameters=True, poolclass=NullPool)
    try:
        with _migrating, engine.begin() as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA busy_timeout=10000")
                connection.exec_driver_sql("BEGIN IMMEDIATE")  # else each change of a table is on its own
            else:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            config.attributes["connection"] = connection
            return work(config, connection)
    finally:
        engine.dispose()


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the tables to a revision: from nothing, from an older one, or back to one."""

    def work(config: Config, connection: Connection) -> None:
        current = MigrationContext.configure(connection).get_current_revision()
        older = [one.revision for one in ScriptDirectory.from_config(config).iterate_revisions(current, "base")]
        (command.downgrade if revision in {"base", *older[1:]} else command.upgrade)(config, revision)

    _migrate(url, work)


class Downgrade(Value, frozen=True, kw_only=True):
    """A way back to an earlier `revision`. `lost`: the tables and columns that hold something and would be gone."""

    revision: str
    lost: list[str]


def downgrade_to(url: str, revision: str | None = None) -> Downgrade:
    """Return what going back to a revision, or to the one before, would take away. It changes nothing.

    Raises `WrongRevision` when the tables are not beyond it.
    """

    def work(config: Config, connection: Connection) -> Downgrade:
        current = MigrationContext.configure(connection).get_current_revision()
        known = [one.revision for one in ScriptDirectory.from_config(config).walk_revisions()]
        if current is None:
            raise WrongRevision("the database is empty: there is nothing to go back from")
        if current not in known:
            raise WrongRevision(standing_of(current).advice)
        scripts = [*ScriptDirectory.from_config(config).iterate_revisions(current, "base")]
        earlier = [*(one.revision for one in scripts[1:]), "base"]
        target = revision or earlier[0]
        if target not in earlier:
            raise WrongRevision(f"the tables are at revision {current}: {target!r} is none of {', '.join(earlier)}")
        undone = scripts[: earlier.index(target) + 1]
        lost = [name.partition(".") for one in undone for name in one.module.LOSES]
        tables = {table for table, _, column in lost if not column}
        held = {
            f"{'column' if column else 'table'} {table}{dot}{column}": _held(connection, table, column)
            for table, dot, column in sorted(lost)
            if not column or table not in tables
        }
        return Downgrade(revision=target, lost=[f"{name}: {n:,} row{'s' * (n != 1)}" for name, n in held.items() if n])

    return _migrate(url, work)


def _held(connection: Connection, table: str, column: str) -> int:
    """Return how many rows a table has, or in how many a column says more than nothing, zero or what is empty."""
    statement = select(func.count()).select_from(sql_table(table))
    if column:
        value = cast(sql_column(column), Text)
        statement = statement.where(value.is_not(None), value.not_in(("0", "[]", "{}", "false", "null")))
    return int(connection.execute(statement).scalar_one())


State = Literal["empty", "current", "older", "newer", "foreign"]


class Standing(Value, frozen=True, kw_only=True):
    """How the tables of a database stand to what this version needs; `advice` says what to do unless all is well."""

    state: State
    found: str | None
    needed: str

    @property
    def advice(self) -> str:
        return _ADVICE.get(self.state, "").format(found=self.found, needed=self.needed)


@cache
def _known() -> tuple[str, ...]:
    """Return the revisions that this version knows, the one that it needs first."""
    return tuple(one.revision for one in ScriptDirectory(str(MIGRATIONS)).walk_revisions())


def standing_of(found: str | None, *, tables: bool = True) -> Standing:
    """Return how tables at a revision stand. `tables`: whether there are any, when they are at none."""
    needed, *older = _known()
    state: State
    if found is None:
        state = "foreign" if tables else "empty"
    elif found == needed:
        state = "current"
    else:
        state = "older" if found in older else "newer"
    return Standing(state=state, found=found, needed=needed)


def standing(url: str) -> Standing:
    """Return how the tables of a database stand to what this version needs."""

    def work(_: Config, connection: Connection) -> Standing:
        current = MigrationContext.configure(connection).get_current_revision()
        return standing_of(current, tables=current is not None or bool(inspect(connection).get_table_names()))

    return _migrate(url, work)


def state(url: str) -> State:
    return standing(url).state


async def hold_revision(connection: AsyncConnection) -> None:
    """See to it that the tables are this version's until the end of a transaction. Raises `WrongRevision`.

    A writer that a newer version's migration has overtaken would fill its tables by the rules of before.
    """
    if connection.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
        await connection.execute(select(func.pg_advisory_xact_lock_shared(_LOCK)))
    found = standing_of((await connection.execute(select(_REVISION))).scalar())
    if found.state != "current":
        raise WrongRevision(found.advice)


async def read_standing(connection: AsyncConnection) -> Standing:
    """Return how the tables stand, for a reader. Raises `SQLAlchemyError` when there are none."""
    return standing_of((await connection.execute(select(_REVISION))).scalar())


def bring_up_to_date(url: str) -> str:
    """Upgrade the tables and return how they were before. Raises `WrongRevision` when that cannot be."""
    before = standing(url)
    if before.state in {"newer", "foreign"}:
        raise WrongRevision(before.advice)
    if before.state != "current":
        upgrade(url)
    return before.state


async def prepare(url: str) -> None:
    """Make the tables of an empty database. Raises `WrongRevision` for one that this version cannot work with."""
    found = await asyncio.to_thread(standing, url)
    if found.state == "empty":
        try:
            await asyncio.to_thread(upgrade, url)
        except ProgrammingError as error:  # a role with rights of its own: it may write rows
            raise WrongRevision(
                f"the database is empty, and its tables cannot be made: {str(error.orig).splitlines()[0]}. Run "
                "`flows db upgrade` as their owner, then start again"
            ) from error
    elif found.state != "current":
        raise WrongRevision(found.advice)


class WrongRevision(RuntimeError):
    """The tables are not those that this version works with."""


_ADVICE = {
    "older": "the database is from an older version: its tables are at revision {found}, and this version needs "
    "{needed}. Run `flows db upgrade`, then start again",
    "newer": "the database is from a newer version of flows: its tables are at revision {found}, and this version "
    "knows up to {needed}. Start the newer version; or let that one take them back with `flows db downgrade {needed}`",
    "foreign": "the database holds tables of something else, or of a version before migrations: move it away, and a "
    "recorder (or `flows rebuild`) fills an empty one from the log",
}
