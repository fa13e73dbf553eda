"""Nothing on the log stops a service: messages that no service would write, appended by somebody who may.

FLOWS_POISON: how many messages of each type are appended, 6 when it is not set. FLOWS_POISON_SEED: which ones.
"""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from msgspec import structs
from rich.console import Console

from api.broadcast import Broadcaster
from api.tail import Tail
from bus.clock import now
from bus.envelope import Stored, Unreadable, decode, encode
from bus.reading import Page
from bus.subjects import TABLE, subject_of
from cli import dead
from schemas import commands as c
from schemas.base import Message
from schemas.definitions import PolicyPatch, SettingsPatch
from schemas.events import (
    BackupCompleted,
    BackupRequested,
    BackupStarted,
    DeadLettered,
    FlowCompleted,
    FlowPlanned,
    FlowStarted,
    PlannedBackup,
)
from schemas.ids import ENGINE
from services import database
from services.executor.app import Executor
from services.recorder.comparison import differences
from services.recorder.rebuild import rebuild
from services.registry.app import Registry
from services.scheduler.app import Scheduler
from services.worker.app import Worker
from services.worker.domain import Backup, Report
from services.worker.domain import evolve as fold_report
from tests.hostile import Generator
from tests.services.conftest import Engine
from tests.support import T0, due, eventually, flow, group, policy, repository, schedule, sent, vm

GLOBAL = ("catalog.freeze.", "catalog.settings.")  # what they say holds for a healthy flow too
COUNT = int(os.environ.get("FLOWS_POISON", "6"))
SEED = int(os.environ.get("FLOWS_POISON_SEED", "1"))
BACKUP = {"flow_id": "flow", "execution_id": "execution-1", "backup_id": "backup-1", "context_id": "vm-0"}


def services(engine: Engine) -> Sequence[Registry | Scheduler | Executor | Worker]:
    return (Registry(), Scheduler(max_offset=None), Executor(), Worker(), engine.recorder())  # type: ignore[return-value]


def definitions(name: str, **given: str) -> list[Message]:
    """Return what is needed for a flow: with names of its own."""
    return [
        vm(f"{name}vm"),
        group(f"{name}group", members=[f"{name}vm"]),
        repository(f"{name}repository"),
        policy(f"{name}policy"),
        flow(
            f"{name}flow",
            target_id=f"{name}group",
            repository_id=f"{name}repository",
            policy_id=f"{name}policy",
            **given,
        ),
    ]


async def define(engine: Engine, *messages: Message) -> None:
    for message in messages:
        await engine.log.append([sent(message, id=f"defined:{subject_of(message)}", time=now())], expect={})


async def put(engine: Engine, subject: str, body: bytes) -> int:
    return int((await engine.log._js.publish(subject, body)).seq)


async def put_edited(engine: Engine, message: Message, **values: object) -> int:
    """Append a message with some values of its envelope, or of its data, that no shape would let through."""
    body = msgspec.json.decode(encode(sent(message, id=f"poison-{len(values)}", time=now())))
    for name, value in values.items():
        (body if name in {"time", "actor", "decidedon"} else body["data"])[name] = value
    return await put(engine, subject_of(message), msgspec.json.encode(body))


@asynccontextmanager
async def alive(engine: Engine) -> AsyncIterator[None]:
    """Services that all live, at the end too: else what one of them failed with is raised."""
    async with engine.running(*services(engine)):
        yield


async def works(engine: Engine) -> None:
    """A healthy flow is on schedule, and runs by hand; definitions can be changed; the tables can be rebuilt."""
    commands = [c.LiftFreeze(id=ENGINE), c.UpdateSettings(id=ENGINE, patch=SettingsPatch(max_concurrent_jobs=None))]
    await engine.ask(*commands)
    armed = now() - timedelta(minutes=2)
    every_minute = schedule("healthy-schedule", cron_expression="* * * * *", armed_at=armed)
    healthy = definitions("healthy-")
    await define(engine, *healthy[:-1], every_minute)
    whole = healthy[-1]
    assert isinstance(whole, type(flow()))
    assert whole.definition is not None
    scheduled = structs.replace(whole.definition, schedule_id="healthy-schedule", armed_at=armed)
    await define(engine, structs.replace(whole, definition=scheduled))
    await engine.until("flow.due.healthy-flow", within=60)
    (ended, *_) = await engine.until("flow.completed.healthy-flow", within=60)
    assert ended.status == "success"
    await engine.ask(c.ExecuteFlow(id="healthy-flow"))

    async def by_hand() -> bool:
        started = await engine.messages("flow.started.healthy-flow")
        ended = {one.execution_id: one.status for one in await engine.messages("flow.completed.healthy-flow")}
        return any(ended.get(one.execution_id) == "success" for one in started if one.execution_type == "manual")

    await eventually(by_hand, within=60, why="the flow runs by hand")
    await engine.ask(c.UpdatePolicy(id="healthy-policy", patch=PolicyPatch(description="changed")))
    changed = await engine.until("catalog.policy.healthy-policy", 2, within=60)
    assert changed[-1].definition.description == "changed"
    await engine.ask(c.DeleteSchedule(id="healthy-schedule", detach=True))
    await engine.until("catalog.schedule.healthy-schedule", 2, within=60)


async def rebuilt(engine: Engine, folder: Path) -> None:
    """Filled anew, the tables are the same: compared while nothing more came."""
    for number in range(20):
        last = (await engine.log.identity()).last_sequence
        await engine.recorded()
        fresh = database.sqlite_url(folder / f"fresh-{number}.db")
        async for _ in rebuild(engine.log, fresh):
            pass
        found = [str(one) async for one in differences(engine.database_url, fresh)]
        if (await engine.log.identity()).last_sequence == last:
            assert found == []
            return
    pytest.fail("the log never stands still")


async def listed(engine: Engine) -> str:
    """Return what `flows dead list` prints."""
    printed = io.StringIO()
    await dead.show(engine.server.url, Console(file=printed, width=100_000))
    return printed.getvalue()


EXAMPLES: dict[str, tuple[Message, dict[str, object]]] = {
    "an occurrence without a zone": (due("flow"), {"occurrence": "2026-11-01T12:00:00"}),
    "an occurrence in year 9999": (due("flow"), {"occurrence": "9999-12-31T23:59:59-14:00"}),
    "an envelope of year 1": (due("flow"), {"time": "0001-01-01T00:00:00+14:00"}),
    "a NUL in an actor": (c.ExecuteFlow(id="flow"), {"actor": "a\x00b"}),
    "2^70 bytes": (
        BackupCompleted(**BACKUP, attempt=1, bytes_read=1, bytes_transferred=1, snapshot_ref="x"),
        {"bytes_transferred": 2**70},
    ),
    "a decision on no position": (due("flow"), {"decidedon": "x"}),
    "an unknown zone": (schedule("schedule", timezone="Mars/Olympus"), {}),
    "an expression that is none": (schedule("schedule", cron_expression="61 * * * *"), {}),
    "a definition of something else": (structs.replace(flow("flow"), id="other"), {}),
    "a freeze until 9999": (c.SetFreeze(id=ENGINE, until=T0, reason=""), {"until": "9999-12-31T23:59:59-14:00"}),
}


@pytest.mark.parametrize("name", EXAMPLES)
async def test_an_absurd_message_is_a_dead_letter_and_stops_nobody(engine: Engine, tmp_path: Path, name: str) -> None:
    message, values = EXAMPLES[name]
    async with alive(engine):
        await define(engine, *definitions(""), schedule("schedule"))
        sequence = await put_edited(engine, message, **values)
        await eventually(lambda: _letters_about(engine, sequence), within=30)
        await works(engine)
    async with alive(engine):  # and none that starts behind it
        await engine.ask(c.UpdatePolicy(id="healthy-policy", patch=PolicyPatch(description="again")))
        await engine.until("catalog.policy.healthy-policy", 3, within=60)
        await rebuilt(engine, tmp_path)
    letters = await _letters_about(engine, sequence)
    assert len({one.service for one in letters}) == len(letters), "each service says it once"
    shown = [line for line in (await listed(engine)).splitlines() if line.split()[0] == str(sequence)]
    assert {(line.split()[1], line.split()[2]) for line in shown} == {(one.service, one.reason) for one in letters}


async def _letters_about(engine: Engine, sequence: int) -> list[DeadLettered]:
    found = await engine.messages("dead.*.*")
    return [one for one in found if isinstance(one, DeadLettered) and one.sequence == sequence]


UNKNOWN = {
    "a target": {"target_id": "nowhere"},
    "a VM": {"target_type": "vm", "target_id": "nowhere"},
    "a repository": {"repository_id": "nowhere"},
    "a policy": {"policy_id": "nowhere"},
}


@pytest.mark.parametrize("what", UNKNOWN)
async def test_a_flow_that_refers_to_nothing_is_skipped_with_the_reason(engine: Engine, what: str) -> None:
    async with alive(engine):
        await define(
            engine,
            *definitions(""),
            flow("lost", **{"target_id": "group", "repository_id": "repository"} | UNKNOWN[what]),
        )
        await engine.ask(c.ExecuteFlow(id="lost"))
        (skipped,) = await engine.until("flow.skipped.lost")
        assert "'nowhere' does not exist" in skipped.message
        await works(engine)


async def test_an_execution_that_was_over_before_its_backups_holds_no_slot(engine: Engine) -> None:
    """A contradiction: its end comes while a backup is in flight."""
    started = FlowStarted(
        flow_id="flow",
        execution_id="execution-1",
        flow_name="flow",
        flow_version=1,
        execution_type="manual",
        triggered_by="x",
        occurrence=None,
        overlap_policy="skip",
        repository_id="repository",
        policy_id=None,
        priority=0,
        max_concurrent_jobs=None,
        jobs=1,
        parts=1,
    )
    one = PlannedBackup(backup_id="backup-1", context_id="healthy-vm", vm_name="x")
    planned = FlowPlanned(flow_id="flow", execution_id="execution-1", part=1, parts=1, backups=[one], excluded=[])
    over = FlowCompleted(
        flow_id="flow",
        execution_id="execution-1",
        status="success",
        started_at=T0,
        completed_at=T0,
        jobs_created=0,
        jobs_completed=0,
        jobs_failed=0,
        jobs_skipped=0,
        bytes_transferred=0,
        error_message=None,
    )
    requested = BackupRequested(
        **(BACKUP | {"context_id": "healthy-vm"}),
        vm_name="x",
        disks=[],
        repository_id="other",
        engine="none",
        location="/x",
        config={},
        backup_type="auto",
        retry_attempts=0,
        retry_delay_seconds=1,
        timeout_seconds=None,
        requested_at=T0,
    )
    begun = BackupStarted(**(BACKUP | {"context_id": "healthy-vm"}), attempt=2**31 - 1, worker="x")
    await define(engine, *definitions(""), started, planned, requested, begun, over)
    async with alive(engine):
        await works(engine)  # its VM is free


async def test_messages_of_every_type_stop_nobody(engine: Engine, tmp_path: Path) -> None:
    generator = Generator(SEED)
    async with alive(engine):
        await define(engine, *definitions(""), schedule("schedule"))
        for _ in range(COUNT):
            for row in TABLE.values():
                subject, body = generator.message(row.message)
                if not subject.startswith(
                    ("catalog.freeze.", "catalog.settings.")
                ):  # they hold for the healthy flow too
                    await put(engine, subject, body)
        await engine.recorded()
        await works(engine)
    async with alive(engine):
        await engine.ask(c.UpdatePolicy(id="healthy-policy", patch=PolicyPatch(description="again")))
        await engine.until("catalog.policy.healthy-policy", 3, within=60)
        await rebuilt(engine, tmp_path)
    entries = await engine.log.read([">"])
    unreadable = {
        one.sequence
        for one in entries
        if isinstance(one, Unreadable) and not one.subject.startswith("dead.") and one.unknown_type is None
    }
    letters = [one.envelope.data for one in entries if isinstance(one, Stored) and one.envelope.source in _SERVICES]
    about = [(one.service, one.sequence) for one in letters if isinstance(one, DeadLettered)]
    assert len(about) == len(set(about)), "each service says it once"
    assert unreadable <= {sequence for _, sequence in about}
    assert all(one.error for one in letters if isinstance(one, DeadLettered))


_SERVICES = ("registry", "scheduler", "executor", "recorder")


@pytest.mark.slow
def test_what_only_listens_takes_in_everything() -> None:
    """The API's tail and broadcaster, and a worker's record of a backup, fold without a shell that sets aside."""

    generator = Generator(SEED, wildness=0.0)
    tail, broadcaster, backup = Tail(), Broadcaster(None, since=0), Backup()  # type: ignore[arg-type]
    for sequence in range(1, 10 * COUNT):
        for row in TABLE.values():
            subject, body = generator.message(row.message)
            entry = decode(sequence=sequence, subject=subject, stored_at=T0, body=body)
            tail.take([entry], sequence)
            broadcaster.hear(Page(entries=[entry], position=sequence, caught_up=True))
            if isinstance(entry, Stored) and isinstance(entry.envelope.data, Report):
                backup = fold_report(backup, entry.envelope.data, sequence, entry.envelope.source)
    assert tail.position == 10 * COUNT - 1
