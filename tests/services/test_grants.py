"""The roles of PostgreSQL: the API's cannot write, the recorder's cannot make tables, and both do what they are for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.pool import NullPool

from cli.main import cli as flows
from services import database
from services.grants import CannotGrant, grant
from services.recorder.store import Tables
from tests.services.execution import COMPLETED, HOUSE, PLANNED, STARTED, STREAM
from tests.support import history

pytestmark = pytest.mark.server

_numbers = itertools.count()


class Roles:
    """An API's and a recorder's role on a server, and the tables' address for each."""

    def __init__(self, url: str) -> None:
        number = next(_numbers)
        self.owner = url
        self.api, self.recorder = f"api {number}", f'recorder"{number}'  # names that have to be quoted

    def url(self, role: str) -> str:
        return make_url(self.owner).set(username=role).render_as_string(hide_password=False)


@pytest.fixture
def roles(postgresql_url: str) -> Iterator[Roles]:
    roles = Roles(postgresql_url)
    names = [psycopg.sql.Identifier(name) for name in (roles.api, roles.recorder)]
    with psycopg.connect(postgresql_url.replace("+psycopg", ""), autocommit=True) as connection:
        for name in names:
            connection.execute(psycopg.sql.SQL("CREATE ROLE {} LOGIN").format(name))
        yield roles
        for name in names:
            connection.execute(psycopg.sql.SQL("DROP OWNED BY {}").format(name))
            connection.execute(psycopg.sql.SQL("DROP ROLE {}").format(name))


def run(url: str, statement: str) -> None:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(statement))


def denied(url: str, *statements: str) -> None:
    for statement in statements:
        with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
            run(url, statement)


async def test_each_role_does_what_it_is_for_and_nothing_else(roles: Roles) -> None:
    database.upgrade(roles.owner)
    for _ in range(2):
        grant(roles.owner, read=[roles.api], write=[roles.recorder])
    store = Tables(roles.url(roles.recorder))
    assert await store.position(STREAM) == 0
    await store.apply(history(*HOUSE, STARTED, PLANNED, COMPLETED), STREAM)
    await store.close()
    api = roles.url(roles.api)
    run(api, "SELECT * FROM protection_flows")
    run(api, "SELECT * FROM alembic_version")
    denied(
        api,
        "UPDATE projection SET position = 0",
        "DELETE FROM events",
        "INSERT INTO identities VALUES ('x', 1)",
        "TRUNCATE events",
        "DROP TABLE events",
        "CREATE TABLE mine (id int)",
        "ALTER TABLE vms ADD COLUMN mine int",
    )
    denied(
        roles.url(roles.recorder),
        "CREATE TABLE mine (id int)",
        "DROP TABLE events",
        "TRUNCATE events",
        "ALTER TABLE vms ADD COLUMN mine int",
        "UPDATE alembic_version SET version_num = '9999'",
        "CREATE INDEX mine ON events (type)",
    )


def test_tables_that_come_later_are_granted_too(roles: Roles) -> None:
    database.upgrade(roles.owner)
    grant(roles.owner, read=[roles.api], write=[roles.recorder])
    run(roles.owner, "CREATE TABLE later (id int)")
    run(roles.url(roles.recorder), "INSERT INTO later VALUES (1)")
    run(roles.url(roles.api), "SELECT * FROM later")
    denied(roles.url(roles.api), "INSERT INTO later VALUES (1)")


def test_a_right_that_is_not_granted_any_more_is_taken_back(roles: Roles) -> None:
    database.upgrade(roles.owner)
    grant(roles.owner, write=[roles.api])
    grant(roles.owner, read=[roles.api])
    denied(roles.url(roles.api), "DELETE FROM events")


async def test_a_recorder_on_an_empty_database_says_who_makes_its_tables(roles: Roles) -> None:
    store = Tables(roles.url(roles.recorder))
    with pytest.raises(database.WrongRevision, match=r"database is empty, and .* `flows db upgrade` as their owner"):
        await store.position(STREAM)
    await store.close()


def test_roles_are_named_when_they_cannot_be_granted_anything(roles: Roles) -> None:
    database.upgrade(roles.owner)
    with pytest.raises(CannotGrant, match=r"'nobody' cannot be granted anything: role .nobody. does not exist"):
        grant(roles.owner, read=["nobody"])
    with pytest.raises(CannotGrant, match="'' is no name of a role"):
        grant(roles.owner, read=[""])
    with pytest.raises(CannotGrant, match="a SQLite file has none"):
        grant("sqlite://", read=["flows_api"])


def test_flows_db_upgrade_grants(roles: Roles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWS_DATABASE_URL", roles.owner)
    done = CliRunner().invoke(
        flows, ["db", "upgrade", "--grant-read", roles.api, "--grant-write", roles.recorder], standalone_mode=False
    )
    assert done.output.splitlines() == [
        "The tables were empty; now they are not.",
        f"May read: {roles.api}. May write rows: {roles.recorder}.",
    ]
    denied(roles.url(roles.api), "DELETE FROM events")
