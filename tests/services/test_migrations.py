"""Migrations, on each database: up, down, with data; and what a service says about tables that are not its own."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from click.testing import CliRunner
from msgspec.structs import replace
from sqlalchemy import Connection, inspect, text

from cli.main import cli as flows
from schemas import tables as t
from schemas.definitions import Disk
from schemas.events import VmDefined
from services import database
from services.database import (
    MIGRATIONS,
    Downgrade,
    WrongRevision,
    bring_up_to_date,
    downgrade_to,
    prepare,
    state,
    upgrade,
)
from services.recorder.store import Tables
from tests.services.execution import BUFFERED, COMPLETED, FAILED, HOUSE, PLANNED, REQUESTED, SKIPPED, STARTED, STREAM
from tests.support import T0, due, engine_settings, flow, history, repository, schedule, vm

pytestmark = pytest.mark.slow

REVISIONS = [f"{number:04}" for number in range(1, 16)]


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


def test_sql_users_find_columns_and_indexes(url: str) -> None:
    upgrade(url)
    assert columns(url) >= {
        "protection_flows.next_execution_time",
        *(
            f"protection_flow_executions.{name}"
            for name in ("created_job_ids", "execution_time_seconds", "vms_processed")
        ),
    }

    def work(_: Config, connection: Connection) -> dict[tuple[str | None, ...], bool]:
        found = inspect(connection).get_indexes("protection_flows")
        return {tuple(one["column_names"]): bool(one["unique"]) for one in found}

    indexes = database._migrate(url, work)
    assert indexes["name",] is True
    assert {("enabled",), ("last_execution_time",), ("target_id", "target_type")} <= indexes.keys()


TIMES = "SELECT id, last_occurrence, next_execution_time FROM protection_flows"
FOUND = "SELECT created_job_ids, execution_time_seconds, vms_processed FROM protection_flow_executions"


async def test_what_sql_users_find_is_filled_when_the_tables_are_upgraded(url: str) -> None:
    upgrade(url)
    store = Tables(url)
    scheduled = flow(schedule_id="schedule-1", version=2)
    passed = due(at=T0 + timedelta(hours=1))
    await store.apply(
        history(*HOUSE, schedule(), scheduled, passed, STARTED, PLANNED, REQUESTED, FAILED, COMPLETED), STREAM
    )
    await store.close()
    times, found = run(url, TIMES), run(url, FOUND)
    ((_, last, following),) = times
    assert str(last).startswith(f"{T0 + timedelta(hours=1):%Y-%m-%d %H:00:00}")
    assert str(following).startswith(f"{T0 + timedelta(hours=2):%Y-%m-%d %H:00:00}")
    assert [*found[0][1:]] == [1.0, 1]
    assert "b" in str(found[0][0])
    upgrade(url, "0008")
    upgrade(url)
    assert (run(url, TIMES), run(url, FOUND)) == (times, found)


async def test_the_names_of_flows_must_be_unique_for_an_upgrade(url: str) -> None:
    upgrade(url)
    store = Tables(url)
    await store.apply(history(*HOUSE, flow("flow-2")), STREAM)
    await store.close()
    upgrade(url, "0008")
    run(url, "UPDATE protection_flows SET name = 'one'")
    with pytest.raises(RuntimeError, match="several flows have the name 'one'"):
        upgrade(url)
    assert run(url, "SELECT version_num FROM alembic_version") == [("0008",)]
    run(url, "UPDATE protection_flows SET name = id")
    upgrade(url)
    assert differences(url) == []


def columns(url: str) -> set[str]:
    def work(_: Config, connection: Connection) -> set[str]:
        there = inspect(connection)
        tables = [name for name in there.get_table_names() if name != "alembic_version"]
        return {*tables, *(f"{table}.{one['name']}" for table in tables for one in there.get_columns(table))}

    return database._migrate(url, work)


def test_each_migration_names_what_its_downgrade_loses(url: str) -> None:
    """All but what has another name afterwards."""
    upgrade(url)
    renamed = {"schedules.jitter_seconds"}
    scripts = {script.revision: script.module for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}
    for revision, below in zip(reversed(REVISIONS), reversed(["base", *REVISIONS[:-1]]), strict=True):
        before = columns(url)
        upgrade(url, below)
        gone = before - columns(url) - renamed
        named = {*scripts[revision].LOSES}
        assert named <= gone
        assert {one for one in gone - named if one.partition(".")[0] not in named} == set()


async def test_going_back_says_what_is_lost(url: str) -> None:
    with pytest.raises(WrongRevision, match="nothing to go back from"):
        downgrade_to(url)
    upgrade(url)
    assert downgrade_to(url) == Downgrade(revision=REVISIONS[-2], lost=[]), "an empty table loses nothing"
    store = Tables(url)
    await store.apply(history(*HOUSE, engine_settings(disk_roots=["/srv"]), STARTED, PLANNED, COMPLETED), STREAM)
    await store.close()
    executions = "column protection_flow_executions"
    assert downgrade_to(url, "0008").lost == [
        f"{executions}.created_job_ids: 1 row",
        f"{executions}.execution_time_seconds: 1 row",
        f"{executions}.vms_processed: 1 row",
    ]
    assert "column settings.disk_roots: 1 row" in downgrade_to(url, "0006").lost
    assert "column settings.disk_roots: 1 row" not in downgrade_to(url, "0003").lost, "the whole table goes"
    assert "table settings: 1 row" in downgrade_to(url, "0003").lost
    assert "table events: 8 rows" in downgrade_to(url, "base").lost
    with pytest.raises(WrongRevision, match=f"'0042' is none of {REVISIONS[-2]}, {REVISIONS[-3]}"):
        downgrade_to(url, "0042")
    with pytest.raises(WrongRevision, match=f"at revision {REVISIONS[-1]}: '{REVISIONS[-1]}' is none of"):
        downgrade_to(url, REVISIONS[-1])
    run(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(WrongRevision, match="newer version"):
        downgrade_to(url)


async def test_flows_db_downgrade(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be lost is named, and goes only when that is wanted."""
    upgrade(url)
    store = Tables(url)
    await store.apply(history(*HOUSE, STARTED, PLANNED, COMPLETED), STREAM)
    await store.close()
    monkeypatch.setenv("FLOWS_DATABASE_URL", url)
    refused = CliRunner().invoke(flows, ["db", "downgrade", "0008"], standalone_mode=False)
    assert refused.return_value == 1
    assert "takes away:\n  column protection_flow_executions.created_job_ids: 1 row" in refused.output
    assert "Nothing has been changed. To do it: flows db downgrade 0008 --yes" in refused.output
    assert state(url) == "current"
    done = CliRunner().invoke(flows, ["db", "downgrade", "0006", "--yes"], standalone_mode=False)
    assert (done.return_value, done.output.splitlines()[-1]) == (0, "The tables are at revision 0006 now.")
    assert run(url, "SELECT version_num FROM alembic_version") == [("0006",)]
    assert CliRunner().invoke(flows, ["db", "upgrade"]).exit_code == 0
    assert differences(url) == []


async def test_a_schedules_jitter_keeps_its_value_under_each_name(url: str) -> None:
    upgrade(url)
    store = Tables(url)
    await store.apply(history(schedule(jitter_seconds=300)), STREAM)
    await store.close()
    upgrade(url, "0004")
    assert run(url, "SELECT spread_seconds FROM schedules") == [(300,)]
    upgrade(url)
    assert run(url, "SELECT jitter_seconds FROM schedules") == [(300,)]


async def test_what_waits_has_no_row_for_older_code_that_makes_one_at_its_start(url: str) -> None:
    upgrade(url)
    store = Tables(url)
    await store.apply(history(*HOUSE, STARTED, PLANNED, BUFFERED), STREAM)
    jobs = run(url, "SELECT id FROM backup_jobs")
    upgrade(url, "0007")
    assert run(url, "SELECT id FROM protection_flow_executions") == [("x",)]
    upgrade(url)
    begins = history(replace(STARTED, execution_id="y"), start=len(HOUSE) + 4)
    await store.apply(begins, STREAM)
    await store.close()
    assert run(url, "SELECT id, status FROM protection_flow_executions ORDER BY id") == [
        ("x", "running"),
        ("y", "running"),
    ]
    assert run(url, "SELECT id FROM backup_jobs") == jobs  # making the table anew has not taken them along


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


async def test_labels_of_workers_are_found_on_the_log(url: str) -> None:
    upgrade(url)
    store = Tables(url)
    labelled = vm("vm-2", worker_labels={"site": "b"})
    changed = [repository(worker_labels={"site": "x"}, version=2), repository(worker_labels={"site": "a"}, version=3)]
    requested = replace(REQUESTED, pool="p", worker_labels={"site": "a"})
    await store.apply(history(*HOUSE, labelled, *changed, STARTED, PLANNED, requested), STREAM)
    await store.close()

    def labels(table: str) -> list[Any]:
        found = [row[0] for row in run(url, f"SELECT worker_labels FROM {table} ORDER BY id")]
        return [json.loads(one) if isinstance(one, str) else one for one in found]

    there = {"vms": [{}, {"site": "b"}], "repositories": [{"site": "a"}], "backup_jobs": [{"site": "a"}]}
    assert {table: labels(table) for table in there} == there
    upgrade(url, "0010")
    upgrade(url)
    assert {table: labels(table) for table in there} == there


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


@pytest.mark.parametrize("revision", ["9999", REVISIONS[-2]])
async def test_a_recorder_writes_nothing_to_tables_that_were_migrated_while_it_ran(url: str, revision: str) -> None:
    """By the rules of before it would fill them, or make dead letters of what a new column refuses."""
    upgrade(url)
    store = Tables(url)
    await store.apply(history(*HOUSE), STREAM)
    run(url, f"UPDATE alembic_version SET version_num = '{revision}'")
    with pytest.raises(WrongRevision, match=f"its tables are at revision {revision}, and this version"):
        await store.apply(history(*HOUSE, STARTED), STREAM)
    await store.close()
    assert run(url, "SELECT position FROM projection") == [(len(HOUSE),)]
    assert run(url, "SELECT count(*) FROM protection_flow_executions") == [(0,)]


@pytest.mark.server
async def test_tables_are_not_migrated_in_the_middle_of_a_transaction(postgresql_url: str) -> None:
    upgrade(postgresql_url)
    engine = database.writer(postgresql_url)
    async with engine.begin() as connection:
        await database.hold_revision(connection)
        migrating = asyncio.create_task(asyncio.to_thread(state, postgresql_url))
        other = database.writer(postgresql_url)
        with pytest.raises(TimeoutError):  # whoever migrates waits for whoever writes …
            async with asyncio.timeout(0.5):
                await asyncio.shield(migrating)
    assert await migrating == "current"
    async with engine.begin() as connection, other.begin() as second:  # … and writers not for each other
        await database.hold_revision(connection)
        await database.hold_revision(second)
    await engine.dispose()
    await other.dispose()
