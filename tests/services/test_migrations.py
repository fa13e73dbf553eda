"""Migrations, on each database: up, down, with data; and what a service says about tables that are not its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from msgspec.structs import replace
from sqlalchemy import Connection, text

from schemas import tables as t
from schemas.definitions import Disk
from schemas.events import VmDefined
from services import database
from services.database import WrongRevision, bring_up_to_date, prepare, state, upgrade
from services.recorder.store import Tables
from tests.services.execution import COMPLETED, FAILED, HOUSE, PLANNED, REQUESTED, SKIPPED, STARTED, STREAM
from tests.support import engine_settings, history, schedule, vm

REVISIONS = ["0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008"]


def run(url: str, *statements: str) -> list[Any]:
    def work(_: Config, connection: Connection) -> list[Any]:
        for statement in statements:
            result = connection.execute(text(statement))
        return list(result) if result.returns_rows else []

    return database._migrate(url, work)


def differences(url: str) -> list[Any]:
    def work(_: Config, connection: Connection) -> list[Any]:
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": False}), t.metadata)

    return database._migrate(url, work)


@pytest.fixture
def url(database_url: str) -> str:
    return database_url


def test_the_migrations_lead_to_the_tables_that_the_code_has(url: str) -> None:
    assert state(url) == "empty"
    upgrade(url)
    assert state(url) == "current"
    assert differences(url) == []


def test_all_the_way_up_and_down_again(url: str) -> None:
    for revision in REVISIONS:
        upgrade(url, revision)
        assert run(url, "SELECT version_num FROM alembic_version") == [(revision,)]
    for revision in reversed(["base", *REVISIONS[:-1]]):
        upgrade(url, revision)
    assert run(url, "SELECT count(*) FROM alembic_version") == [(0,)]
    upgrade(url)
    assert differences(url) == []


async def test_data_survives(url: str) -> None:
    upgrade(url)
    store = Tables(url)
    deleted = VmDefined(id="vm-2", version=2, definition=None)
    settings = [engine_settings(keep_days=9), engine_settings(max_concurrent_jobs=4, disk_roots=["/srv"], version=2)]
    entries = history(*HOUSE, *settings, vm("vm-2"), deleted, STARTED, PLANNED, REQUESTED, FAILED, COMPLETED, SKIPPED)
    await store.apply(entries, STREAM)
    await store.close()
    before = run(url, "SELECT id, status, started_at FROM protection_flow_executions")
    identities = run(url, "SELECT id, number FROM identities ORDER BY id")
    rounds = run(url, "SELECT id, round, disks_count FROM backup_jobs ORDER BY id")
    limits = run(url, "SELECT * FROM settings")
    assert [row[:4] for row in limits] == [("engine", 4, None, 2)]
    assert ("settings/engine", 2) in identities
    upgrade(url, "0001")
    assert run(url, "SELECT id, status, started_at FROM protection_flow_executions") == before
    assert run(url, "SELECT total_executions FROM protection_flows") == [(1,)]
    upgrade(url)
    assert run(url, "SELECT id, status, started_at FROM protection_flow_executions") == before
    assert run(url, "SELECT total_executions, pruned_executions FROM protection_flows") == [(1, 0)]
    assert run(url, "SELECT id, number FROM identities ORDER BY id") == identities
    assert run(url, "SELECT id, round, disks_count FROM backup_jobs ORDER BY id") == rounds
    assert run(url, "SELECT * FROM settings") == limits


async def test_a_schedules_jitter_keeps_its_value_under_each_name(url: str) -> None:
    upgrade(url)
    store = Tables(url)
    await store.apply(history(schedule(jitter_seconds=300)), STREAM)
    await store.close()
    upgrade(url, "0004")
    assert run(url, "SELECT spread_seconds FROM schedules") == [(300,)]
    upgrade(url)
    assert run(url, "SELECT jitter_seconds FROM schedules") == [(300,)]


async def test_how_many_disks_a_backup_was_asked_for_is_found_in_its_request(url: str) -> None:
    upgrade(url)
    store = Tables(url)
    disks = [Disk(disk_id="d0", path="/a"), Disk(disk_id="d1", path="/b")]
    await store.apply(history(*HOUSE, STARTED, PLANNED, replace(REQUESTED, disks=disks)), STREAM)
    await store.close()
    counts = "SELECT id, disks_count FROM backup_jobs"
    assert run(url, counts) == [("b", 2)]
    upgrade(url, "0007")
    run(url, "UPDATE events SET body = 'x' WHERE sequence = 1")
    upgrade(url)
    assert run(url, counts) == [("b", 2)]


async def test_a_service_refuses_what_it_cannot_work_with(url: str) -> None:
    await prepare(url)  # an empty database is made ready
    await prepare(url)
    upgrade(url, "0001")
    with pytest.raises(WrongRevision, match="flows db upgrade"):
        await prepare(url)
    assert bring_up_to_date(url) == "older"
    assert bring_up_to_date(url) == "current"
    run(url, "UPDATE alembic_version SET version_num = '9999'")
    for refused in (lambda: bring_up_to_date(url), lambda: upgrade(url)):
        with pytest.raises(Exception, match=r"newer version|9999"):
            refused()
    with pytest.raises(WrongRevision, match="newer version"):
        await prepare(url)
    run(url, "DELETE FROM alembic_version")
    with pytest.raises(WrongRevision, match="flows rebuild"):
        await prepare(url)


def test_every_migration_is_known_here() -> None:
    files = (Path(database.__file__).parent / "migrations" / "versions").glob("0*.py")
    assert sorted(file.stem.partition("_")[0] for file in files) == REVISIONS
