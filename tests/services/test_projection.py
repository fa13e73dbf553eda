"""What events mean for the tables, whatever batches they come in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from bus.envelope import Stored
from bus.log import Identity
from schemas import tables as t
from schemas.base import Message
from schemas.commands import DeleteFlow, ExecuteFlow
from schemas.events import (
    BackupCompleted,
    BackupFailed,
    BackupProgressed,
    BackupRequested,
    BackupStarted,
    FlowCompleted,
    FlowDefined,
    FlowPlanned,
    FlowStarted,
    PlannedBackup,
    Rejected,
)
from services import database
from services.recorder.projection import project
from services.recorder.store import Tables as Store
from tests.support import T0, flow, group, history, repository, sent, stored, vm

STREAM = Identity(created="then", last_sequence=1_000_000)
IN = {"flow_id": "flow-1", "execution_id": "x"}
ABOUT = {**IN, "backup_id": "b", "context_id": "vm-1"}

STARTED = FlowStarted(
    **IN,
    flow_name="flow-1",
    flow_version=1,
    execution_type="manual",
    triggered_by="eve",
    occurrence=None,
    overlap_policy="skip",
    repository_id="repo-1",
    policy_id=None,
    priority=0,
    max_concurrent_jobs=None,
    jobs=1,
    parts=1,
)
PLANNED = FlowPlanned(
    **IN,
    part=1,
    parts=1,
    backups=[PlannedBackup(backup_id="b", context_id="vm-1", vm_name="web")],
    excluded=[],
)
REQUESTED = BackupRequested(
    **ABOUT,
    vm_name="web",
    disks=[],
    repository_id="repo-1",
    engine="simulated",
    location="/x",
    config={},
    backup_type="auto",
    retry_attempts=0,
    retry_delay_seconds=1,
    timeout_seconds=None,
    requested_at=T0,
)
FAILED = BackupFailed(**ABOUT, attempt=1, error="broken")
DONE = BackupCompleted(**ABOUT, attempt=2, bytes_read=2, bytes_transferred=1, snapshot_ref="there")
COMPLETED = FlowCompleted(
    **IN,
    status="error",
    started_at=T0,
    completed_at=T0 + timedelta(seconds=9),
    jobs_created=1,
    jobs_completed=0,
    jobs_failed=1,
    jobs_skipped=0,
    bytes_transferred=0,
    error_message="broken",
)
HOUSE = [vm(), group(members=["vm-1"]), repository(), flow()]


class Tables:
    def __init__(self, url: str) -> None:
        self.url = url
        self.store = Store(url)

    async def take(self, entries: Sequence[Stored], size: int) -> None:
        """Project entries in batches of a size."""
        for start in range(0, len(entries), size):
            await self.store.apply(entries[start : start + size], STREAM)

    async def rows(self, table: Any) -> list[dict[str, Any]]:
        reader = database.reader(self.url)
        async with reader.connect() as connection:
            found = [dict(row) for row in (await connection.execute(select(table))).mappings()]
        await reader.dispose()
        return found


@pytest.fixture
async def tables(database_url: str) -> Any:
    await database.prepare(database_url)
    tables = Tables(database_url)
    yield tables
    await tables.store.close()


@pytest.mark.parametrize("size", [1, 2, 3, 100])
async def test_the_first_end_counts_and_a_straggler_changes_nothing(tables: Tables, size: int) -> None:
    story: list[Message] = [
        *HOUSE,
        *(STARTED, PLANNED, REQUESTED),
        BackupStarted(**ABOUT, attempt=1, worker="w"),
        BackupProgressed(**ABOUT, attempt=1, percent=40, bytes_read=8, bytes_transferred=4),
        *(FAILED, COMPLETED, DONE),
        BackupProgressed(**ABOUT, attempt=2, percent=90, bytes_read=9, bytes_transferred=9),
    ]
    await tables.take(history(*story), size)
    (job,) = await tables.rows(t.backup_jobs)
    assert (job["status"], job["attempt"], job["error_message"], job["snapshot_ref"]) == ("error", 1, "broken", None)
    assert (job["progress_percent"], job["bytes_transferred"]) == (40, 4)
    (execution,) = await tables.rows(t.executions)
    assert (execution["status"], execution["jobs_failed"]) == ("error", 1)
    (row,) = await tables.rows(t.protection_flows)
    assert (row["total_executions"], row["successful_executions"], row["failed_executions"]) == (1, 0, 1)


@pytest.mark.parametrize("size", [1, 3, 100])
async def test_a_commands_first_answer_counts(tables: Tables, size: int) -> None:
    asked = sent(ExecuteFlow(id="flow-1"), id="c1", actor="eve")
    no = Rejected(entity="flow", verb="create", id="flow-1", code="conflict", reason="late")
    entries = [
        *history(*HOUSE),
        stored(asked, 5),
        stored(sent(STARTED, causationid="c1"), 6),
        stored(sent(no, causationid="c1"), 7),
        stored(sent(DeleteFlow(id="flow-1"), id="c2"), 8),
    ]
    await tables.take(entries, size)
    commands = {row["id"]: row for row in await tables.rows(t.commands)}
    assert (commands["c1"]["outcome"], commands["c1"]["outcome_sequence"]) == ("accepted", 6)
    assert (commands["c2"]["outcome"], commands["c2"]["actor"]) == ("pending", "unknown")


@pytest.mark.parametrize("size", [1, 2, 100])
async def test_what_a_deleted_flow_still_says_has_no_place(tables: Tables, size: int) -> None:
    """An execution that began in the very moment in which its flow was deleted."""
    gone = FlowDefined(id="flow-1", version=2, definition=None)
    await tables.take(history(*HOUSE, gone, STARTED, PLANNED, REQUESTED, FAILED, COMPLETED), size)
    assert await tables.rows(t.executions) == []
    assert await tables.rows(t.backup_jobs) == []


