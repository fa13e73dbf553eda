"""The part of the tables that one with a scope reads: on each database; and waiting for others, who are not named."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import select

from api.identity import Identity
from api.readmodel import explain, queue
from api.readmodel.reader import ReadModel
from bus.envelope import Stored
from schemas import tables as t
from schemas.base import Message
from schemas.events import BackupRequested, FlowPlanned, FlowStarted, PlannedBackup
from services import database
from services.recorder.store import Tables
from tests.api import worlds
from tests.api.scoped import EVERYBODY
from tests.api.worlds import LATER, STREAM
from tests.services.execution import PLANNED, REQUESTED, STARTED
from tests.support import T0, engine_settings, flow, group, repository, sent, stored, vm

MINE = Identity(actor="me", role="viewer", groups=frozenset({"group-1"}))
HOUSE = [vm("vm-1"), vm("vm-2"), group(members=["vm-1"]), group("theirs", ["vm-1", "vm-2"]), repository()]
FLOWS = [flow(), flow("theirs", target_id="theirs")]


def begun(flow_id: str, execution_id: str, context_id: str) -> tuple[FlowStarted, FlowPlanned, BackupRequested]:
    """Return the beginning of an execution over one VM."""
    about: dict[str, Any] = {"flow_id": flow_id, "execution_id": execution_id}
    backup = PlannedBackup(backup_id=f"{execution_id}-b", context_id=context_id, vm_name=context_id)
    requested = replace(REQUESTED, **about, backup_id=backup.backup_id, context_id=context_id)
    return (
        replace(STARTED, **about, flow_name=flow_id),
        replace(PLANNED, **about, backups=[backup]),
        requested,
    )


THEIRS, MINE_BEGUN = begun("theirs", "secret", "vm-1"), begun("flow-1", "x", "vm-1")[:2]


@pytest.fixture
async def tables(tmp_path: Path, empty_tables: Path) -> AsyncIterator[Tables]:
    made = Tables(database.sqlite_url(Path(shutil.copy(empty_tables, tmp_path / "flows.db"))))
    yield made
    await made.close()


@pytest.fixture
async def reader(tables: Tables) -> AsyncIterator[ReadModel]:
    made = ReadModel(database.reader(tables._url))
    yield made
    await made.close()


def told(*messages: Message | Sequence[Message]) -> list[Stored]:
    """Return messages as the log holds them, a second apart, those of an execution together."""
    in_order = [one for some in messages for one in ([some] if isinstance(some, Message) else some)]
    return [
        stored(
            sent(one, id=f"m{n}", time=T0 + timedelta(seconds=n), correlationid=getattr(one, "execution_id", None)), n
        )
        for n, one in enumerate(in_order, start=1)
    ]


async def test_the_same_rows_are_seen_on_each_database(database_url: str, tables: Tables, reader: ReadModel) -> None:
    await database.prepare(database_url)
    other = Tables(database_url)
    for one in (other, tables):
        await one.apply(worlds.entries(), STREAM)
    await other.close()
    there = ReadModel(database.reader(database_url))
    for who in EVERYBODY.values():
        for table in t.metadata.sorted_tables:
            statement = select(*table.primary_key.columns).order_by(*table.primary_key.columns)
            found, expected = await there.seen_by(who).rows(statement), await reader.seen_by(who).rows(statement)
            assert [tuple(row) for row in found] == [tuple(row) for row in expected], (who.actor, table.name)
    await there.close()


async def test_one_who_may_see_everything_reads_as_ever(reader: ReadModel) -> None:
    assert reader.seen_by(EVERYBODY["everything"]) is reader
    assert reader.of_everything() is reader


async def test_all_that_is_read_in_one_moment_is_of_the_scope(tables: Tables, reader: ReadModel) -> None:
    await tables.apply(told(HOUSE, FLOWS), STREAM)
    async with reader.seen_by(MINE).snapshot() as moment:
        ids = select(t.protection_flows.c.id).order_by(t.protection_flows.c.id)
        assert [row.id for row in await moment.rows(ids)] == ["flow-1"]
        async with moment.snapshot() as inner:
            assert [row.id for row in await inner.rows(ids)] == ["flow-1"]
        assert [row.id for row in await moment.of_everything().rows(ids)] == ["flow-1", "theirs"]


async def test_who_waits_for_a_vm_that_others_back_up_does_not_hear_who_they_are(
    tables: Tables, reader: ReadModel
) -> None:
    await tables.apply(told(HOUSE, FLOWS, THEIRS, MINE_BEGUN), STREAM)
    (everything,) = (one for one in (await queue.current(reader, [])).waiting if one.status == "pending")
    assert everything.waiting_for == "its VM, which execution secret is backing up"
    found = await queue.current(reader.seen_by(MINE), [])
    assert [one.waiting_for for one in found.waiting] == [
        "its VM, which is being backed up by a flow that you may not see"
    ]


async def test_who_waits_for_a_slot_that_others_have_hears_that_it_is_taken(tables: Tables, reader: ReadModel) -> None:
    others = begun("theirs", "secret", "vm-2")
    limited = engine_settings(max_concurrent_jobs=1)
    await tables.apply(told(HOUSE, limited, FLOWS, others, MINE_BEGUN), STREAM)
    found = await queue.current(reader.seen_by(MINE), [])
    assert [one.waiting_for for one in found.waiting] == ["a slot over all flows: 1 of 1 are taken"]
    assert found.running == []


async def test_what_others_have_is_not_told_as_if_nobody_had_it(tables: Tables, reader: ReadModel) -> None:
    await tables.apply(told(HOUSE, FLOWS, THEIRS, MINE_BEGUN), STREAM)
    everything = await explain.of_execution(reader, "x", LATER)
    found = await explain.of_execution(reader.seen_by(MINE), "x", LATER)
    assert everything is not None
    assert found is not None
    assert any("flow 'theirs', which is backing the same VM up" in line for line in everything.lines)
    (waits,) = [line for line in found.lines if "waits for" in line]
    assert waits.endswith("waits for a slot, or for its VM: others may have them.")
    assert not any("theirs" in line or "secret" in line for line in found.lines)
