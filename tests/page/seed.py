"""Many VMs with a long history, for looking at the page and for measuring it: `python -m tests.page.seed --help`.

All of it is messages, and the recorder's own projection makes the rows of them. With `--data` they are on the log of a
data folder, and `flows up --data` goes on from there; with `--database` they are in tables alone, without a log.
"""

from __future__ import annotations

import argparse
import asyncio
import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from bus.clock import now
from bus.connection import connect
from bus.envelope import Envelope, Stored, encode, envelope
from bus.log import Identity, Log
from bus.setup import declare_at
from bus.stream import WORKER_QUEUE
from bus.subjects import STREAM, subject_of
from schemas import events as e
from schemas.base import Message, Value
from schemas.definitions import Flow, Group, Member, Policy, Repository, Schedule, Vm
from schemas.ids import backup_id, scheduled_execution_id
from services import database
from services.recorder.rebuild import rebuild
from services.recorder.store import Tables
from tests.servers import root, server_in

FAILS = 0.02  # of the backups
SITES, TIERS = ("berlin", "lyon", "oslo"), ("gold", "silver")
TOGETHER = 1_000  # messages that are appended at once
SIZE = 1 << 30  # bytes of a backup, about

Told = tuple[datetime, Message]


class World(Value, frozen=True, kw_only=True):
    """How much: VMs and flows, each flow with its share of the VMs in a group, every night for some days."""

    vms: int
    flows: int
    days: int
    until: datetime

    @property
    def born(self) -> datetime:
        return self.until - timedelta(days=self.days)


def messages(world: World) -> Iterator[Told]:
    """Yield all messages of a world, in order, each with its time: the same ones for the same world."""
    chance = random.Random(world.vms * 1_000_003 + world.days)
    yield from ((world.born, one) for one in _definitions(world))
    for day in range(world.days):
        night = (world.born + timedelta(days=day + 1)).replace(hour=1, minute=0, second=0, microsecond=0)
        for number in range(world.flows):
            at = night + timedelta(minutes=number % 60)
            if world.born < at < world.until - timedelta(minutes=30):
                yield from _execution(world, number, at, chance)


def _definitions(world: World) -> Iterator[Message]:
    born: dict[str, Any] = {"version": 1, "created_at": world.born, "updated_at": world.born, "created_by": "seed"}
    for number in range(world.vms):
        labels = {"site": SITES[number % len(SITES)], "tier": TIERS[number % len(TIERS)]}
        vm = Vm(id=f"vm-{number:04}", vm_name=f"VM {number:04}", labels=labels, **born)
        yield e.VmDefined(id=vm.id, version=1, definition=vm)
    for number in range(3):
        store = Repository(
            id=f"repository-{number}", name=f"Repository {number}", type="simulated", location="/", **born
        )
        yield e.RepositoryDefined(id=store.id, version=1, definition=store)
    yield e.PolicyDefined(id="policy", version=1, definition=Policy(id="policy", name="Nightly", **born))
    for minute in range(min(60, world.flows)):
        when = Schedule(
            id=f"schedule-{minute}",
            name=f"Every night at 1:{minute:02}",
            cron_expression=f"{minute} 1 * * *",
            armed_at=world.born,
            **born,
        )
        yield e.ScheduleDefined(id=when.id, version=1, definition=when)
    for number in range(world.flows):
        members = [Member(context_id=id_) for id_ in _members(world, number)]
        group = Group(id=f"group-{number:04}", name=f"Group {number:04}", members=members, **born)
        yield e.GroupDefined(id=group.id, version=1, definition=group)
        flow = Flow(
            id=f"flow-{number:04}",
            name=f"Flow {number:04}",
            flow_type="backup",
            target_type="group",
            target_id=group.id,
            repository_id=f"repository-{number % 3}",
            policy_id="policy",
            schedule_id=f"schedule-{number % 60}",
            labels={"site": SITES[number % len(SITES)]},
            armed_at=world.born,
            **born,
        )
        yield e.FlowDefined(id=flow.id, version=1, definition=flow)


def _members(world: World, number: int) -> list[str]:
    return [f"vm-{vm:04}" for vm in range(number, world.vms, world.flows)]


def _execution(world: World, number: int, at: datetime, chance: random.Random) -> Iterator[Told]:
    """Yield one execution of a flow over its VMs: most backups succeed, and take a minute or some."""
    flow, vms = f"flow-{number:04}", _members(world, number)
    within = {"flow_id": flow, "execution_id": scheduled_execution_id(flow, at)}
    yield at, e.FlowDue(flow_id=flow, occurrence=at, schedule_id=f"schedule-{number % 60}")
    started = e.FlowStarted(
        **within,
        flow_name=f"Flow {number:04}",
        flow_version=1,
        execution_type="scheduled",
        triggered_by="scheduler",
        occurrence=at,
        overlap_policy="skip",
        repository_id=f"repository-{number % 3}",
        policy_id="policy",
        priority=0,
        max_concurrent_jobs=None,
        jobs=len(vms),
        parts=1,
    )
    yield at, started
    plan = [
        e.PlannedBackup(backup_id=backup_id(within["execution_id"], id_), context_id=id_, vm_name=f"VM {id_[3:]}")
        for id_ in vms
    ]
    yield at, e.FlowPlanned(**within, part=1, parts=1, backups=plan, excluded=[])
    failed = moved = 0
    end = at
    for one in plan:
        about = {**within, "backup_id": one.backup_id, "context_id": one.context_id}
        done = at + timedelta(seconds=chance.randint(30, 900))
        size = chance.randint(SIZE // 2, SIZE)
        yield at, _request(about, one.vm_name, number, at)
        yield at, e.BackupStarted(**about, attempt=1, worker="worker-1")
        if chance.random() < FAILS:
            failed += 1
            yield done, e.BackupFailed(**about, attempt=1, error="the disk could not be read")
        else:
            moved += size
            reference = f"{one.context_id}/{at:%Y-%m-%d}"
            read = {"bytes_read": 4 * size, "bytes_transferred": size, "snapshot_ref": reference}
            yield done, e.BackupCompleted(**about, attempt=1, **read)
        end = max(end, done)
    completed = e.FlowCompleted(
        **within,
        status="success" if not failed else "error" if failed == len(vms) else "warning",
        started_at=at,
        completed_at=end,
        jobs_created=len(vms),
        jobs_completed=len(vms) - failed,
        jobs_failed=failed,
        jobs_skipped=0,
        bytes_transferred=moved,
        error_message=f"{failed} of {len(vms)} failed" if failed else None,
    )
    yield end, completed


def _request(about: dict[str, str], vm_name: str, number: int, at: datetime) -> e.BackupRequested:
    return e.BackupRequested(
        **about,
        vm_name=vm_name,
        disks=[],
        repository_id=f"repository-{number % 3}",
        engine="simulated",
        location="/",
        config={},
        backup_type="auto",
        retry_attempts=0,
        retry_delay_seconds=30,
        timeout_seconds=None,
        requested_at=at,
    )


def sealed(told: Iterable[Told]) -> Iterator[Envelope]:
    """Yield messages in their envelopes."""
    for number, (at, message) in enumerate(told, start=1):
        execution = getattr(message, "execution_id", None)
        yield envelope(message, id=f"seed-{number}", source="seed", time=at, correlationid=execution)


async def into_tables(told: Iterable[Told], url: str) -> int:
    """Project messages into an empty database; return how many they are."""
    await database.prepare(url)
    tables = Tables(url)
    events = sealed(told)
    last = 0
    while some := list(islice(events, 5 * TOGETHER)):
        entries = [_stored(one, number) for number, one in enumerate(some, start=last + 1)]
        last = entries[-1].sequence
        await tables.apply(entries, Identity(created="seed", last_sequence=last))
    await tables.close()
    return last


def _stored(event: Envelope, sequence: int) -> Stored:
    subject = subject_of(event.data)
    return Stored(sequence=sequence, subject=subject, stored_at=event.time, body=encode(event), envelope=event)


async def onto_log(world: World, folder: Path) -> int:
    """Append a world to the new log of a data folder, and project it; return how many messages it has."""
    server = server_in(folder)
    server.start()
    try:
        client = await connect(root(server), "seed")
        await declare_at(server.url)
        log = Log(client)
        events, last = sealed(messages(world)), 0
        while some := list(islice(events, TOGETHER)):
            last = await log.append(some, expect={})
        # else a worker would be handed each request again, to find that it was done
        js = client.jetstream()
        requests = await js.pull_subscribe_bind(WORKER_QUEUE.name, STREAM)
        left = sum(isinstance(one, e.BackupRequested) for _, one in messages(world))
        while left:
            for message in await requests.fetch(min(left, TOGETHER), timeout=10):
                await message.ack()
                left -= 1
        await database.prepare(url := database.sqlite_url(folder / "flows.db"))
        async for _ in rebuild(log, url):
            pass
        await client.close()
        return last
    finally:
        server.stop()


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill a log or a database, and say with how much."""
    parser = argparse.ArgumentParser(prog="python -m tests.page.seed", description=__doc__)
    parser.add_argument("--vms", type=int, default=1_000)
    parser.add_argument("--flows", type=int, default=20)
    parser.add_argument("--days", type=int, default=90)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--data", type=Path, help="a new data folder: with a log, for `flows up --data`")
    where.add_argument("--database", help="the URL of an empty database: tables alone, without a log")
    given = parser.parse_args(arguments)
    world = World(vms=given.vms, flows=given.flows, days=given.days, until=now())
    if given.data is not None:
        given.data.mkdir(parents=True, exist_ok=True)
        number = asyncio.run(onto_log(world, given.data))
    else:
        number = asyncio.run(into_tables(messages(world), given.database))
    print(f"{number:,} messages: {world.vms:,} VMs, {world.flows:,} flows, {world.days:,} days")


if __name__ == "__main__":
    main()
