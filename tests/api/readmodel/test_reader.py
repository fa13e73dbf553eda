"""An answer that is made of several reads is of one moment: as before a write, or as after it, whenever it comes."""

from __future__ import annotations

import asyncio
import importlib
import shutil
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from api.readmodel.audit import AuditFilter
from api.readmodel.backups import BackupFilter
from api.readmodel.definitions import DefinitionFilter
from api.readmodel.executions import ExecutionFilter
from api.readmodel.flows import FlowFilter
from api.readmodel.reader import Page, Reader
from bus.log import Identity
from schemas import events as e
from schemas.base import Message
from schemas.commands import UpdatePolicy
from schemas.definitions import Freeze, PolicyPatch
from schemas.ids import ENGINE
from services import database
from services.recorder.store import Tables
from tests.api.events import started
from tests.support import T0, engine_settings, flow, group, policy, repository, schedule, sent, stored, vm

STREAM = Identity(created="then", last_sequence=1_000_000)
NOW = T0 + timedelta(hours=1)
LATER = T0 + timedelta(days=1)
PAGE = Page()
IN = {"flow_id": "flow-1", "execution_id": "x"}


def planned(execution_id: str, *backups: str) -> e.FlowPlanned:
    plan = [e.PlannedBackup(backup_id=one, context_id=f"vm-{one[-1]}", vm_name=one) for one in backups]
    return e.FlowPlanned(flow_id="flow-1", execution_id=execution_id, part=1, parts=1, backups=plan, excluded=[])


def completed(backup: str) -> e.BackupCompleted:
    about = {**IN, "backup_id": backup, "context_id": f"vm-{backup[-1]}", "attempt": 1}
    return e.BackupCompleted(**about, bytes_read=20, bytes_transferred=10, snapshot_ref="there")


REQUESTED = e.BackupRequested(
    **IN,
    backup_id="b1",
    context_id="vm-1",
    vm_name="b1",
    disks=[],
    repository_id="repo-1",
    engine="simulated",
    location="/x",
    config={},
    backup_type="full",
    retry_attempts=0,
    retry_delay_seconds=0,
    timeout_seconds=None,
    requested_at=T0,
)


BEFORE: list[Message] = [
    *(vm(f"vm-{number}") for number in (1, 2)),
    group(members=["vm-1", "vm-2"]),
    repository(max_concurrent_jobs=1),
    policy(),
    schedule(),
    flow(schedule_id="schedule-1"),
    engine_settings(max_concurrent_jobs=4),
    started("x", 2),
    planned("x", "b1", "b2"),
    REQUESTED,
]
# everything changes at once
AFTER: list[Message] = [
    completed("b1"),
    completed("b2"),
    e.FlowCompleted(
        **IN,
        status="success",
        started_at=T0,
        completed_at=NOW,
        jobs_created=2,
        jobs_completed=2,
        jobs_failed=0,
        jobs_skipped=0,
        bytes_transferred=20,
        error_message=None,
    ),
    planned("x", "b3"),
    started("y", 1, T0 + timedelta(hours=2)),
    planned("y", "c1"),
    vm("vm-3"),
    vm("vm-2", enabled=False, version=2),
    group(members=["vm-3", "vm-1", "vm-2"], version=2),
    group("group-2"),
    repository(max_concurrent_jobs=None, version=2),
    policy(keep_last=9, version=2),
    UpdatePolicy(id="policy-1", patch=PolicyPatch(keep_last=9)),
    engine_settings(max_concurrent_jobs=9, version=2),
    e.FreezeDefined(id=ENGINE, version=1, definition=Freeze(since=T0, until=LATER, reason="r", created_by="eve")),
    schedule(timezone="Asia/Tokyo", cron_expression="30 * * * *", version=2),
    flow("flow-2", schedule_id="schedule-1"),
    flow(name="another", schedule_id="schedule-1", version=2),
]


COMMAND = len(BEFORE) + 1 + next(i for i, one in enumerate(AFTER) if isinstance(one, UpdatePolicy))


def ask(name: str, *args: Any, **options: Any) -> Callable[[Reader], Awaitable[Any]]:
    """Return a question to the read model, `module.function`, with its arguments."""
    module, _, function = name.partition(".")
    return lambda reader: getattr(importlib.import_module(f"api.readmodel.{module}"), function)(
        reader, *args, **options
    )


async def several(reader: Reader) -> Any:
    async with reader.snapshot() as moment:
        return [await ask("executions.find", ExecutionFilter(), PAGE)(moment), await moment.position()]


QUESTIONS: dict[str, Callable[[Reader], Awaitable[Any]]] = {
    "queue": ask("queue.current", None),
    "backups": ask("backups.find", BackupFilter(), PAGE),
    "storage": ask("backups.storage", "repo-1"),
    "flows": ask("flows.find", FlowFilter(), None, PAGE, NOW),
    "flow": ask("flows.one", "flow-1", NOW),
    "status": ask("flows.at_present", "flow-1", NOW, 10),
    "next runs": ask("flows.next_runs", "flow-1", NOW, 10),
    "summary": ask("flows.summary", T0),
    "executions": ask("executions.find", ExecutionFilter(), PAGE),
    "executions of a flow": ask("executions.of_flow", ExecutionFilter(flow_id="flow-1"), PAGE),
    "execution": ask("executions.one", "x"),
    "jobs": ask("executions.jobs", "x", PAGE),
    "events of an execution": ask("events.of_execution", "x", PAGE),
    "groups": ask("definitions.groups", DefinitionFilter(), None, PAGE),
    "members": ask("definitions.members", "group-1", PAGE),
    "calendar": ask("calendar.over_all", T0, LATER, NOW),
    "occurrences": ask("occurrences.outcomes", "flow-1", T0, LATER, NOW),
    "backfill": ask("occurrences.to_fill", "flow-1", T0, LATER, "missing"),
    "explain": ask("explain.of_flow", "flow-1", None, NOW),
    "dry run": ask("references.of_flow", "flow-1"),
    "audit": ask("audit.find", AuditFilter(), PAGE, identities=True),
    "one command": ask("audit.recorded", f"m{COMMAND}"),
    "a snapshot of several questions": several,
}


async def write(file: Path, messages: list[Message], first: int) -> None:
    entries = [
        stored(
            sent(
                one,
                id=f"m{number}",
                time=T0 + timedelta(seconds=number),
                causationid=f"m{number}",
                correlationid=getattr(one, "execution_id", None),
            ),
            number,
        )
        for number, one in enumerate(messages, start=first)
    ]
    tables = Tables(database.sqlite_url(file))
    await tables.apply(entries, STREAM)
    await tables.close()


@pytest.fixture(scope="module")
def tables(empty_tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables as they are before everything changes."""
    file = shutil.copy(empty_tables, tmp_path_factory.mktemp("tables") / "before.db")
    asyncio.run(write(file, BEFORE, 1))
    return file


class Reads:
    """Counts the statements of a reader, and does something right after one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number = 0
        self.when = 0
        self.then: Callable[[], Awaitable[None]] | None = None
        execute = AsyncConnection.execute

        async def counted(connection: AsyncConnection, *args: Any, **kwargs: Any) -> Any:
            result = await execute(connection, *args, **kwargs)
            if "mode=ro" in str(connection.engine.url):
                self.number += 1
                if self.number == self.when and self.then is not None:
                    await self.then()
            return result

        monkeypatch.setattr(AsyncConnection, "execute", counted)


@pytest.mark.parametrize("name", QUESTIONS)
async def test_an_answer_is_of_one_moment(
    tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    reads = Reads(monkeypatch)

    async def answered(when: int) -> Any:
        """Return the answer when everything changes right after the read with this number."""
        file = shutil.copy(tables, tmp_path / f"{when}.db")
        reader = Reader(database.reader(database.sqlite_url(file)))
        reads.number, reads.when, reads.then = 0, when, lambda: write(file, AFTER, len(BEFORE) + 1)
        if when == 0:
            await reads.then()
        try:
            return _plain(await QUESTIONS[name](reader))
        finally:
            await reader._engine.dispose()

    never = 10_000
    before, after = await answered(never), await answered(0)
    assert before != after, "the write changes nothing: the test shows nothing"
    await answered(never)
    number = reads.number
    assert number > 1, "this question needs one read: the test shows nothing"
    for when in range(1, number):
        assert await answered(when) in (before, after), f"a write after read {when} of {number} tears the answer apart"


def _plain(answer: Any) -> Any:
    """Return an answer as something that can be compared: a catalogue is compared by what it holds."""
    if isinstance(answer, tuple):
        return tuple(map(_plain, answer))
    return vars(answer) if type(answer).__name__ == "Catalogue" else answer
