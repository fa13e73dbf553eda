"""What events mean for the tables, whatever batches they come in."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from bus.envelope import Stored
from schemas import tables as t
from schemas.base import Message
from schemas.commands import DeleteFlow, EnableFlow, ExecuteFlow, PruneHistory
from schemas.events import (
    BackupProgressed,
    BackupRetrying,
    BackupStarted,
    FlowDefined,
    PlannedBackup,
    Rejected,
    VmDefined,
)
from schemas.ids import ENGINE
from services import database
from services.recorder.store import Tables as Store
from services.unusable import DeadLetter
from tests.services.execution import (
    ABOUT,
    BUFFERED,
    COMPLETED,
    DONE,
    FAILED,
    HOUSE,
    PLANNED,
    REQUESTED,
    SKIPPED,
    STARTED,
    STREAM,
)
from tests.support import T0, due, engine_settings, flow, group, history, sent, stored, vm


class Tables:
    def __init__(self, url: str) -> None:
        self.url = url
        self.store = Store(url)
        self.aside: list[tuple[int, str]] = []

    async def take(self, entries: Sequence[Stored], size: int) -> None:
        """Project entries in batches of a size."""
        for start in range(0, len(entries), size):
            await self.store.apply(entries[start : start + size], STREAM, self.say)

    async def say(self, aside: Sequence[DeadLetter]) -> None:
        self.aside += [(one.entry.sequence, one.reason) for one in aside]

    async def rows(self, table: Any) -> list[dict[str, Any]]:
        reader = database.reader(self.url)
        async with reader.connect() as connection:
            found = [dict(row) for row in (await connection.execute(select(table))).mappings()]
        await reader.dispose()
        return found


@pytest.fixture
async def tables(database_url: str, tmp_path: Path, empty_tables: Path) -> Any:
    file = tmp_path / "flows.db"
    if database_url == database.sqlite_url(file):
        shutil.copy(empty_tables, file)
    else:
        await database.prepare(database_url)
    tables = Tables(database_url)
    yield tables
    await tables.store.close()


@pytest.fixture
async def other(tmp_path: Path, empty_tables: Path) -> Any:
    """Tables in SQLite, to compare with."""
    tables = Tables(database.sqlite_url(shutil.copy(empty_tables, tmp_path / "other.db")))
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


@pytest.mark.parametrize("size", [1, 100])
async def test_a_batch_is_written_whole_or_not_at_all(tables: Tables, size: int) -> None:
    """The process ends when a dead letter is on the log, and the transaction is not committed."""
    entries = history(*HOUSE, STARTED, STARTED)
    await tables.take(entries[:4], 4)

    async def crash(_: Sequence[DeadLetter]) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await tables.store.apply(entries[4:], STREAM, crash)
    assert await tables.rows(t.executions) == []
    assert await tables.store.position(STREAM) == 4
    await tables.take(entries[4:], size)
    assert len(await tables.rows(t.executions)) == 1
    assert tables.aside == [(6, "repeated")]


# --- what the log says once more -------------------------------------------------------------------------------------

OTHERS = replace(STARTED, flow_name="other", triggered_by="mallory", jobs=7)
BEGUN = BackupStarted(**ABOUT, attempt=1, worker="w")
HALF = BackupProgressed(**ABOUT, attempt=1, percent=50, bytes_read=8, bytes_transferred=4)
RETRYING = BackupRetrying(**ABOUT, attempt=1, error="first", delay_seconds=1)
AGAIN = BackupStarted(**ABOUT, attempt=2, worker="v")
WON = replace(COMPLETED, status="success", jobs_completed=1, jobs_failed=0, error_message=None)
# each message of a run, and how it comes again: the same, or with other content
RUN: list[tuple[Message, Message]] = [
    (STARTED, OTHERS),
    (PLANNED, replace(PLANNED, backups=[PlannedBackup(backup_id="c", context_id="vm-1", vm_name="db")])),
    (REQUESTED, replace(REQUESTED, repository_id="other")),
    (BEGUN, replace(BEGUN, worker="another")),
    (RETRYING, replace(RETRYING, error="other")),
    (replace(REQUESTED, round=2), replace(REQUESTED, round=2)),
    (AGAIN, AGAIN),
    (DONE, replace(DONE, bytes_read=99)),
    (WON, COMPLETED),
    (SKIPPED, replace(SKIPPED, message="other")),
]


async def projected(tables: Tables, entries: Sequence[Stored], size: int) -> dict[str, list[dict[str, Any]]]:
    """Return all rows but those of single messages, after entries in batches of a size."""
    await tables.take(entries, size)
    some = [table for table in t.metadata.sorted_tables if table not in {t.events, t.projection}]
    return {table.name: await tables.rows(table) for table in some}


def numbered(messages: Sequence[tuple[int, Message]]) -> list[Stored]:
    """Return messages at their sequences; a repeat is sent later than what it repeats."""
    return [
        stored(sent(message, id=f"m{number}", time=T0 + timedelta(seconds=number)), number)
        for number, message in messages
    ]


@pytest.mark.parametrize("size", [1, 7, 100])
@pytest.mark.parametrize("late", [False, True], ids=["at-once", "at-the-end"])
async def test_what_the_log_says_again_changes_no_row(tables: Tables, other: Tables, size: int, late: bool) -> None:
    story = [(10 * n, message) for n, message in enumerate([*HOUSE, *(first for first, _ in RUN)], start=1)]
    last = 10 * len(story)
    repeats = [(last + n if late else 10 * n + 1, again) for n, (_, again) in enumerate(RUN, start=len(HOUSE) + 1)]
    once = await projected(other, numbered(story), 3)
    assert await projected(tables, numbered(sorted([*story, *repeats], key=itemgetter(0))), size) == once
    retrying = RUN[4][1]  # an attempt that is over when it comes again at the end is late, not repeated
    expected = [(n, "repeated") for n, again in repeats if not (late and again in [retrying, RUN[3][1]])]
    assert tables.aside == expected
    assert other.aside == []
    assert len(await tables.rows(t.events)) == len(story) + len(repeats)


@pytest.mark.parametrize("size", [1, 2, 100])
async def test_a_command_has_one_effect(tables: Tables, size: int) -> None:
    asked, again = sent(ExecuteFlow(id="flow-1"), id="c1", actor="eve"), sent(DeleteFlow(id="flow-1"), id="c1")
    prune = PruneHistory(id="history", before=T0 + timedelta(days=1))
    entries = [
        *history(*HOUSE, STARTED, PLANNED),
        stored(asked, 7),
        stored(again, 8),
        stored(sent(prune, id="p"), 9),
        *history(REQUESTED, DONE, COMPLETED, start=10),
        stored(sent(prune, id="p"), 13),  # what has ended since is not pruned
    ]
    await tables.take(entries, size)
    commands = {row["id"]: row for row in await tables.rows(t.commands)}
    assert (commands["c1"]["verb"], commands["c1"]["actor"], commands["c1"]["sequence"]) == ("execute", "eve", 7)
    assert len(await tables.rows(t.executions)) == 1
    assert tables.aside == [(8, "repeated"), (13, "repeated")]


@pytest.mark.parametrize("size", [1, 2, 100])
async def test_definitions_do_not_go_back(tables: Tables, size: int) -> None:
    gone = FlowDefined(id="flow-1", version=3, definition=None)
    born = {"created_at": T0 + timedelta(hours=1)}
    entries = history(
        *HOUSE,  # 1 to 4
        flow(version=2, name="new"),
        flow(name="old"),  # 6: older than what is there
        gone,
        flow(version=2, name="new"),  # 8: of a flow that is deleted
        STARTED,  # its last words: no place, and no dead letter
        flow(name="another", **born),  # an id may be used again
        STARTED,  # 11
    )
    await tables.take(entries, size)
    (row,) = await tables.rows(t.protection_flows)
    assert (row["name"], row["version"], row["total_executions"]) == ("another", 1, 0)
    assert await tables.rows(t.executions) == []
    assert tables.aside == [(6, "repeated"), (8, "repeated"), (11, "repeated")]


@pytest.mark.parametrize("size", [1, 2, 100])
async def test_settings_do_not_go_back(tables: Tables, size: int) -> None:
    newer = engine_settings(max_concurrent_jobs=4, keep_days=30, disk_roots=["/srv"], version=2)
    await tables.take(history(engine_settings(), newer, engine_settings(), newer), size)
    assert await tables.rows(t.settings) == [
        {
            "id": ENGINE,
            "max_concurrent_jobs": 4,
            "keep_days": 30,
            "version": 2,
            "updated_at": T0,
            "updated_by": "admin",
            "disk_roots": ["/srv"],
            "repository_roots": None,
            "block_devices": False,
        }
    ]
    assert tables.aside == [(3, "repeated"), (4, "repeated")]


@pytest.mark.parametrize("size", [1, 2, 100])
async def test_a_command_that_changes_nothing_is_answered(tables: Tables, size: int) -> None:
    """The registry answers with the definition as it is; that is no repeat, and the second one is."""
    same = sent(flow(), causationid="c1")
    enable = stored(sent(EnableFlow(id="flow-1"), id="c1"), 5)
    await tables.take([*history(*HOUSE), enable, stored(same, 6), stored(same, 7)], size)
    (command,) = await tables.rows(t.commands)
    assert (command["outcome"], command["outcome_sequence"]) == ("accepted", 6)
    assert tables.aside == [(7, "repeated")]


# --- what can be read, and still not be used -------------------------------------------------------------------------

LONG = "x" * 300
STRANGE: list[tuple[str, Message]] = [
    ("a flow that never was", replace(STARTED, flow_id="nobody", execution_id="s1")),
    ("an execution that never began", replace(COMPLETED, execution_id="s2")),
    ("a plan of one", replace(PLANNED, execution_id="s2")),
    ("a backup in no plan", replace(DONE, backup_id="nobody", attempt=1)),
    ("a repository that is not there", flow("flow-2", repository_id="nobody")),
    ("a member that is not there", group("group-2", members=["nobody"])),
    ("a member twice", group("group-3", members=["vm-1", "vm-1"])),
    ("a VM that a group needs", VmDefined(id="vm-1", version=2, definition=None)),
    ("another one's definition", VmDefined(id="vm-2", version=1, definition=vm("vm-3").definition)),
    ("a name that is too long", replace(STARTED, flow_name=LONG, execution_id="s3")),
    ("a number that is too large", replace(DONE, bytes_read=2**70)),
    ("a text with a NUL", replace(FAILED, error="bro\x00ken", attempt=3)),
    ("a time that overflows", vm("vm-4", created_at=datetime.min.replace(tzinfo=timezone(timedelta(hours=5))))),
    ("an instant before all", PruneHistory(id="history", before=datetime.min.replace(tzinfo=UTC))),
]


@pytest.mark.parametrize("size", [1, 3, 100])
async def test_nothing_on_the_log_stops_the_recorder(tables: Tables, other: Tables, size: int) -> None:
    run = [*HOUSE, STARTED, PLANNED, REQUESTED, BEGUN]
    story = [(100 * n, message) for n, message in enumerate([*run, DONE, COMPLETED], start=1)]
    strange = [(100 * len(run) + n, message) for n, (_, message) in enumerate(STRANGE, start=1)]
    once = await projected(other, numbered([*story[: len(run)], (899, HALF), *story[len(run) :]]), 3)
    mixed = sorted([*story, *strange, (899, HALF)], key=itemgetter(0))
    assert await projected(tables, numbered(mixed), size) == once
    said = dict(tables.aside)
    assert [what for n, (what, _) in enumerate(STRANGE, start=1) if said.pop(800 + n, "") != "unusable"] == []
    assert said == {}
    assert len(await tables.rows(t.events)) == len(mixed)


@pytest.mark.parametrize("size", [1, 100])
async def test_an_envelope_that_fits_nowhere(tables: Tables, size: int) -> None:
    entries = history(*HOUSE, due(), ExecuteFlow(id="flow-1"))
    end = datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))
    due_, command = entries[4:]
    entries[4] = replace(due_, envelope=replace(due_.envelope, id=LONG, subject=LONG, correlationid=LONG, time=end))
    entries[5] = replace(command, envelope=replace(command.envelope, id=LONG, actor="a\x00b"))
    await tables.take(entries, size)
    assert len(await tables.rows(t.events)) == 6
    assert tables.aside == [(6, "unusable")]


async def test_a_database_that_fails_is_no_messages_fault(tables: Tables) -> None:
    entries = history(*HOUSE)
    writer = database.writer(tables.url)
    async with writer.begin() as connection:
        await connection.execute(text("DROP TABLE commands"))
    await writer.dispose()
    with pytest.raises(DBAPIError, match="commands"):
        await tables.take([*entries, stored(sent(ExecuteFlow(id="flow-1")), 5)], 100)
    assert tables.aside == []
    assert await tables.store.position(STREAM) == 0


async def test_two_recorders_on_one_database(tables: Tables) -> None:
    """The slower one finds what the faster one has written, and changes nothing."""
    if "mode=memory" in tables.url:
        pytest.skip("SQLite in memory is one process's, and does not wait for a lock")
    entries = history(*HOUSE, STARTED, PLANNED, REQUESTED, FAILED, COMPLETED)
    second = Tables(tables.url)
    for start in range(0, len(entries), 2):
        batch = entries[start : start + 2]
        one, two = tables.store.apply(batch, STREAM, tables.say), second.store.apply(batch, STREAM, second.say)
        await asyncio.gather(one, two)
    await second.store.close()
    assert tables.aside == second.aside == []
    (row,) = await tables.rows(t.protection_flows)
    assert row["total_executions"] == 1
    assert len(await tables.rows(t.events)) == len(entries)


# --- executions that wait for their turn ------------------------------------------------------------------------------

Y_STARTED = replace(STARTED, execution_id="y", jobs=0)
Y_PLANNED = replace(PLANNED, execution_id="y", backups=[PlannedBackup(backup_id="c", context_id="vm-1", vm_name="w")])


@pytest.mark.parametrize("size", [1, 2, 100])
async def test_an_execution_that_waits_is_pending_until_it_begins(tables: Tables, size: int) -> None:
    waiting = history(*HOUSE, STARTED, PLANNED, BUFFERED)
    await tables.take(waiting, size)
    row = {one["id"]: one for one in await tables.rows(t.executions)}["y"]
    asked = waiting[-1].envelope.time
    assert (row["status"], row["created_at"], row["started_at"], row["completed_at"]) == ("pending", asked, None, None)
    assert (row["flow_id"], row["flow_name"], row["triggered_by"], row["priority"]) == ("flow-1", "flow-1", "eve", 3)
    (of_flow,) = await tables.rows(t.protection_flows)
    assert of_flow["last_execution_id"] == "x"
    begins = history(COMPLETED, Y_STARTED, start=len(waiting) + 1)
    await tables.take(begins, size)
    row = {one["id"]: one for one in await tables.rows(t.executions)}["y"]
    began = begins[-1].envelope.time
    assert (row["status"], row["created_at"], row["started_at"]) == ("running", asked, began)
    assert (row["repository_id"], row["priority"]) == ("repo-1", 0)
    (of_flow,) = await tables.rows(t.protection_flows)
    assert of_flow["last_execution_id"] == "y"
    assert tables.aside == []


@pytest.mark.parametrize("size", [1, 2, 100])
async def test_an_execution_that_waited_in_vain_is_cancelled_and_counts_for_nothing(tables: Tables, size: int) -> None:
    entries = history(*HOUSE, STARTED, PLANNED, BUFFERED, SKIPPED)
    await tables.take(entries, size)
    row = {one["id"]: one for one in await tables.rows(t.executions)}["y"]
    assert (row["status"], row["started_at"], row["error_message"]) == ("cancelled", None, "busy")
    assert row["completed_at"] == entries[-1].envelope.time
    (of_flow,) = await tables.rows(t.protection_flows)
    assert (of_flow["total_executions"], of_flow["last_execution_id"]) == (0, "x")
    later = entries[-1].envelope.time + timedelta(days=1)
    await tables.take(history(PruneHistory(id=ENGINE, before=later), start=len(entries) + 1), size)
    assert [one["id"] for one in await tables.rows(t.executions)] == ["x"]
    (of_flow,) = await tables.rows(t.protection_flows)
    assert (of_flow["total_executions"], of_flow["pruned_executions"]) == (0, 0)


@pytest.mark.parametrize("size", [1, 2, 100])
async def test_what_waits_goes_with_its_flow_and_begins_anew_with_one_of_the_same_id(tables: Tables, size: int) -> None:
    gone = FlowDefined(id="flow-1", version=2, definition=None)
    anew = replace(flow(), definition=replace(flow().definition, created_at=T0 + timedelta(days=1)))
    await tables.take(history(*HOUSE, BUFFERED, gone), size)
    assert await tables.rows(t.executions) == []
    await tables.take(history(anew, Y_STARTED, Y_PLANNED, start=len(HOUSE) + 3), size)
    assert [(one["id"], one["status"]) for one in await tables.rows(t.executions)] == [("y", "running")]
    assert tables.aside == []


@pytest.mark.parametrize("size", [1, 100])
async def test_an_execution_that_says_twice_that_it_waits_or_after_its_start_is_set_aside(
    tables: Tables, size: int
) -> None:
    await tables.take(history(*HOUSE, BUFFERED, BUFFERED, Y_STARTED, BUFFERED), size)
    first = len(HOUSE) + 1
    assert tables.aside == [(first + 1, "repeated"), (first + 3, "repeated")]
    assert [one["status"] for one in await tables.rows(t.executions)] == ["running"]


@pytest.mark.parametrize("size", [1, 100])
async def test_the_name_of_a_flow_is_unique(tables: Tables, size: int) -> None:
    """A second flow of the same name is nobody's decision: it is a dead letter. A name that was let go is free."""
    entries = history(*HOUSE, flow("flow-2", name="flow-1"), flow(name="old", version=2), flow("flow-3", name="flow-1"))
    await tables.take(entries, size)
    rows = await tables.rows(t.protection_flows)
    assert sorted((row["id"], row["name"]) for row in rows) == [("flow-1", "old"), ("flow-3", "flow-1")]
    assert tables.aside == [(len(HOUSE) + 1, "unusable")]
