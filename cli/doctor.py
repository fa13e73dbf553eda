"""`flows doctor`: is what should hold true on this very system? It reads the log and the tables, and changes nothing.

What is owed is decided with the services' own rules, twice with a pause between: what stays owed, nobody does.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape
from sqlalchemy import Select, case, func, or_, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bus.clock import now
from bus.connection import connect
from bus.envelope import Entry, Stored
from bus.log import Log, QueueState
from bus.stream import WORKER_QUEUE
from schemas import tables as t
from schemas.base import Value
from schemas.events import (
    AttemptEvent,
    BackupEvent,
    BackupProgressed,
    BackupRequested,
    BackupRetrying,
    BackupStarted,
    DeadLettered,
    FlowCompleted,
    FlowSkipped,
    FlowStarted,
)
from schemas.ids import AD_HOC
from services import database
from services.executor import domain as executor
from services.executor import state as executor_state
from services.scheduler import deadlines
from services.scheduler import domain as scheduler

PATIENCE = 3.0  # seconds in which a living system does what it owes
LATE = timedelta(seconds=10)  # of the scheduler
MARKS = {"ok": "[green]✓[/]", "note": "[yellow]•[/]", "problem": "[red]✗[/]"}


class Finding(Value, frozen=True, kw_only=True):
    """What was looked at, and how it is. A note is worth knowing, and nothing to repair."""

    level: Literal["ok", "note", "problem"]
    text: str


def _of(faults: Iterable[str], fine: str) -> Finding:
    """Return a problem that names the first fault and counts the others, or `fine`."""
    found = list(faults)
    if not found:
        return Finding(level="ok", text=fine)
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return Finding(level="problem", text=found[0] + more)


class Folded:
    """The whole log, read with the services' own folds, and counted once more without them."""

    def __init__(self) -> None:
        self.position = 0
        self.executor = executor_state.State()
        self.scheduler = scheduler.State()
        self.requested: dict[str, int] = {}  # backups without an end: where on the log
        self.begun: dict[str, int] = {}
        self.answers: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.dead: list[DeadLettered] = []

    def take(self, entry: Entry) -> None:
        self.position = entry.sequence
        if not isinstance(entry, Stored):
            return
        executor_state.evolve(self.executor, entry)
        scheduler.evolve(self.scheduler, entry)
        deadlines.evolve(self.scheduler.deadlines, entry.envelope, self.scheduler.catalogue)
        match entry.envelope.data:
            case FlowStarted() | FlowSkipped() as answer:
                self.answers[answer.execution_id] += 1
            case FlowCompleted() as end:
                self.ends[end.execution_id] += 1
            case BackupRequested() as request:
                self.requested[request.backup_id] = entry.sequence
            case BackupStarted() as begun:
                self.begun[begun.backup_id] = max(begun.attempt, self.begun.get(begun.backup_id, 0))
            case BackupProgressed() | BackupRetrying():
                pass
            case BackupEvent() as ended:
                stale = isinstance(ended, AttemptEvent) and ended.attempt < self.begun.get(ended.backup_id, 0)
                if not stale:
                    self.requested.pop(ended.backup_id, None)
                    self.begun.pop(ended.backup_id, None)
            case DeadLettered() as dead:
                self.dead.append(dead)
            case _:
                pass

    @property
    def owed_by_executor(self) -> dict[str, str]:
        """Decisions that should be on the log, by id, and what they are."""
        batches = executor.decide(self.executor)
        return {one.id: type(one.event).__name__ for batch in batches for one in batch}

    @property
    def owed_by_scheduler(self) -> set[str]:
        """Flows whose occurrence or deadline should be on the log."""
        return {event.flow_id for events in scheduler.decide(self.scheduler, now() - LATE) for event in events}


async def doctor(nats_url: str, database_url: str, console: Console) -> bool:
    """Print what was found; return whether all is well. Raises `LogError` when the log cannot be reached."""
    client = await connect(nats_url, "flows-doctor")
    tables = database.reader(database_url)
    well = True
    try:
        async for finding in examine(Log(client), tables):
            console.print(f"{MARKS[finding.level]} {escape(finding.text)}", highlight=False, soft_wrap=True)
            well &= finding.level != "problem"
    finally:
        await tables.dispose()
        await client.close()
    return well


async def examine(log: Log, tables: AsyncEngine) -> AsyncIterator[Finding]:
    """Yield what is found, check by check."""
    folded = Folded()
    # the queue first: what was answered there has its end on the log by the time that is read
    work = await log.queue(WORKER_QUEUE)
    await _read_on(log, folded)
    yield Finding(level="ok", text=f"the log answers, and holds messages up to {folded.position:,}")
    yield _queue(work, folded)
    if work.pending and not work.listeners:
        text = f"{work.pending} backups wait in the queue, and no worker asks for them: is one running?"
        yield Finding(level="problem", text=text)
    yield _slots(folded)
    yield _outcomes(folded)
    yield await _checkpoint(log, folded)
    owed, late = folded.owed_by_executor, folded.owed_by_scheduler
    if owed or late:
        await asyncio.sleep(PATIENCE)
        await _read_on(log, folded)
        owed = {id_: kind for id_, kind in folded.owed_by_executor.items() if id_ in owed}
        late &= folded.owed_by_scheduler
    yield _of(
        (f"the executor owes {kind} {id_}: is one running?" for id_, kind in owed.items()),
        "the executor owes nothing: whatever waits has its reason",
    )
    yield _of(
        (f"the scheduler owes flow {flow_id} an occurrence or a deadline: is one running?" for flow_id in sorted(late)),
        "the scheduler owes nothing",
    )
    yield await _tables(log, tables, folded)
    if folded.dead:
        last = folded.dead[-1]
        text = f"{len(folded.dead)} messages could not be used; the last: {last.sequence} on {last.subject}: "
        yield Finding(level="note", text=text + last.error)


async def _read_on(log: Log, folded: Folded, until: int | None = None) -> None:
    """Fold what is on the log now, or up to a sequence."""
    async for batch in log.follow([">"], after=folded.position):
        for entry in batch.entries:
            if until is not None and entry.sequence > until:
                return
            folded.take(entry)
        if batch.caught_up:
            return


def _queue(work: QueueState, folded: Folded) -> Finding:
    lost = [
        f"backup {id_} has no end, and its request (message {sequence:,}) is no longer in the queue"
        for id_, sequence in folded.requested.items()
        if sequence <= work.acknowledged
    ]
    return _of(lost, f"every backup without an end is in the queue: {len(folded.requested)}")


def _slots(folded: Folded) -> Finding:
    held = {id_ for execution in folded.executor.executions.values() for id_ in execution.in_flight}
    faults = [f"backup {id_} holds a slot, and has ended" for id_ in sorted(held - folded.requested.keys())]
    faults += [f"backup {id_} is in flight, and holds no slot" for id_ in sorted(folded.requested.keys() - held)]
    if folded.executor.in_flight.total != len(held):
        faults.append(f"{folded.executor.in_flight.total} slots are taken by {len(held)} backups")
    return _of(faults, f"slots equal the log's count: {len(held)} backups are in flight")


async def _checkpoint(log: Log, folded: Folded) -> Finding:
    """Compare what an executor that starts now would know with what the whole log says."""
    position = (await log.checkpoint("executor")).position
    restarted = executor_state.State()
    for entry in await log.read(["command.*.*", "rejected.*.*", "flow.*.*", "backup.*.*"], after=position):
        if isinstance(entry, Stored) and entry.sequence <= folded.position:
            executor_state.evolve(restarted, entry)
    whole = folded.executor
    same = restarted.executions.keys() == whole.executions.keys() and restarted.triggers.keys() == whole.triggers.keys()
    same &= restarted.in_flight.total == whole.in_flight.total
    faults = [] if same else [f"the executor's checkpoint {position:,} leaves out something that is not over"]
    return _of(faults, f"the executor's checkpoint, {position:,}, leaves out nothing")


def _outcomes(folded: Folded) -> Finding:
    faults = [f"execution {id_} began or was skipped {n} times" for id_, n in folded.answers.items() if n > 1]
    faults += [f"execution {id_} completed {n} times" for id_, n in folded.ends.items() if n > 1]
    open_ones = len(folded.executor.executions)
    return _of(faults, f"every trigger has one outcome, every execution one end; {open_ones} are running")


async def _tables(log: Log, tables: AsyncEngine, folded: Folded) -> Finding:
    """Compare one moment of the tables with the log up to their position."""
    created = (await log.identity()).created
    deadline = asyncio.get_running_loop().time() + PATIENCE
    try:
        while True:
            async with database.snapshot(tables) as moment:
                rows = await _rows(moment, select(t.projection))
                if rows and rows[0]["stream_created"] != created:
                    text = "the tables belong to another log: use the database of this one, or rebuild it"
                    return Finding(level="problem", text=text)
                position = rows[0]["position"] if rows else 0
                if position >= folded.position:
                    await _read_on(log, folded, until=position)
                    fine = f"the tables say what the log says up to {position:,}; totals equal a recount"
                    return _of(await _differing(moment, folded), fine)
            if asyncio.get_running_loop().time() > deadline:
                behind = folded.position - position
                text = f"the tables hold the log up to {position:,}, {behind:,} messages behind: is a recorder running?"
                return Finding(level="problem", text=text)
            await asyncio.sleep(PATIENCE / 10)
    except SQLAlchemyError as error:
        text = f"the tables cannot be read: {str(error.__cause__ or error).splitlines()[0]}"
        return Finding(level="problem", text=text)


async def _rows(moment: AsyncConnection, statement: Select[*tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [dict(row) for row in (await moment.execute(statement)).mappings()]


async def _differing(moment: AsyncConnection, folded: Folded) -> list[str]:
    """Return what the tables say otherwise than the log. A deleted flow's executions are in the tables no more."""
    e, f, j = t.executions, t.protection_flows, t.backup_jobs
    known = {
        id_: execution
        for id_, execution in folded.executor.executions.items()
        if execution.started.flow_id in {*folded.executor.catalogue.flows, AD_HOC}
    }
    running = {row["id"] for row in await _rows(moment, select(e.c.id).where(e.c.completed_at.is_(None)))}
    queued = select(j.c.id).where(j.c.status.in_(("queued", "running")))
    in_flight = {row["id"] for row in await _rows(moment, queued)}
    held = {id_ for execution in known.values() for id_ in execution.in_flight}
    faults = [
        f"{what} {id_} runs in the tables or on the log, and not in both"
        for what, differing in (("execution", running ^ known.keys()), ("backup", in_flight ^ held))
        for id_ in sorted(differing)
    ]
    ended = e.c.completed_at.is_not(None)
    recount = (
        select(
            e.c.flow_id,
            func.sum(case((ended, 1), else_=0)).label("total"),
            func.sum(case((ended & e.c.status.in_(("success", "warning")), 1), else_=0)).label("good"),
            func.sum(case((ended & (e.c.status == "error"), 1), else_=0)).label("failed"),
        )
        .group_by(e.c.flow_id)
        .subquery()
    )
    wrong = or_(
        f.c.total_executions != func.coalesce(recount.c.total, 0) + f.c.pruned_executions,
        f.c.successful_executions != func.coalesce(recount.c.good, 0) + f.c.pruned_successful,
        f.c.failed_executions != func.coalesce(recount.c.failed, 0) + f.c.pruned_failed,
    )
    statement = select(f.c.name).outerjoin(recount, recount.c.flow_id == f.c.id).where(wrong)
    return faults + [
        f"the totals of flow {row['name']!r} differ from a recount" for row in await _rows(moment, statement)
    ]
