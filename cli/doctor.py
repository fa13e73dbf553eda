"""`flows doctor`: is what should hold true on this very system? It reads the log and the tables, and changes nothing.

What is owed is decided with the services' own rules, twice with a pause between: what stays owed, nobody does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec.structs import replace
from rich.console import Console
from rich.markup import escape
from sqlalchemy import Select, case, func, or_, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bus.checkpoint import Note
from bus.clock import now
from bus.connection import connect
from bus.envelope import Entry, Stored
from bus.log import Log, QueueState
from bus.stream import WORKER_QUEUE
from schemas import tables as t
from schemas.base import Value
from schemas.commands import Change, Command, Create, LiftFreeze, SetFreeze
from schemas.events import (
    AttemptEvent,
    BackupAbandoned,
    BackupEvent,
    BackupProgressed,
    BackupRequested,
    BackupRetrying,
    BackupStarted,
    DeadLettered,
    DeadSettled,
    Defined,
    FlowCompleted,
    FlowDefined,
    FlowEvent,
    FlowSkipped,
    FlowStarted,
    Rejected,
    ScheduleDefined,
)
from schemas.ids import AD_HOC, instant
from services import database
from services.executor import domain as executor
from services.executor import state as executor_state
from services.scheduler import deadlines
from services.scheduler import domain as scheduler

PATIENCE = 3.0  # seconds in which a living system does what it owes
LATE = timedelta(seconds=10)  # of the scheduler
FRESH = timedelta(seconds=60)  # since a living worker pinned up its note
GRACE = timedelta(seconds=3 * WORKER_QUEUE.ack_wait)  # until a message that its worker lost was given to another one
MARKS = {"ok": "[green]✓[/]", "note": "[yellow]•[/]", "problem": "[red]✗[/]"}

Remedy = DeadSettled | BackupAbandoned  # what to append, so that a fault is none any more


class Fault(Value, frozen=True, kw_only=True):
    """Something that should not be, and what can safely be done about it, where there is something."""

    text: str
    remedy: Remedy | None = None


class Finding(Value, frozen=True, kw_only=True):
    """What was looked at, and how it is. A note is worth knowing, and nothing to repair."""

    level: Literal["ok", "note", "problem"]
    text: str
    faults: tuple[Fault, ...] = ()


def _of(faults: Iterable[Fault | str], fine: str) -> Finding:
    """Return a problem that names the first fault and counts the others, or `fine`."""
    found = [fault if isinstance(fault, Fault) else Fault(text=fault) for fault in faults]
    if not found:
        return Finding(level="ok", text=fine)
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return Finding(level="problem", text=found[0].text + more, faults=tuple(found))


def _problem(text: str) -> Finding:
    return Finding(level="problem", text=text, faults=(Fault(text=text),))


class Request(Value, frozen=True, kw_only=True):
    """A request for a backup without an end. `quiet`: when the queue has nothing to wait for any more."""

    sequence: int
    event: BackupRequested
    quiet: datetime


class Folded:
    """The whole log, read with the services' own folds, and counted once more without them."""

    def __init__(self) -> None:
        self.position = 0
        self.executor = executor_state.State()
        self.scheduler = scheduler.State()
        self.requested: dict[str, Request] = {}  # by backup
        self.begun: dict[str, int] = {}
        self.abandoned: set[int] = set()  # requests that are to be made anew
        self.commands: dict[str, Stored] = {}  # on definitions, without an answer
        self.dead: dict[int, DeadLettered] = {}  # by message
        self.settled: set[int] = set()
        self.repeats: dict[int, str] = {}  # messages that say what was said
        self.off: dict[tuple[str, str], Stored] = {}  # flows and schedules: since when they are disabled or deleted
        self.wrong: dict[int, str] = {}  # executions that should not have begun
        self.unfolded: dict[int, str] = {}  # messages that a service's fold cannot take in
        self._said: dict[str, int] = {}  # what must be said once: where

    def take(self, entry: Entry) -> None:
        self.position = entry.sequence
        if not isinstance(entry, Stored):
            return
        data = entry.envelope.data
        if isinstance(data, DeadLettered):
            self.dead[data.sequence] = data
        elif isinstance(data, DeadSettled):
            self.settled.add(data.sequence)
        elif self._repeats(entry):
            return  # the first one counts
        elif isinstance(data, FlowStarted):
            self._check(entry, data)
        elif isinstance(data, FlowDefined | ScheduleDefined):
            self._switch(entry, data)
        elif isinstance(data, BackupEvent):
            self._backup(entry, data)
        self._command(entry)
        try:
            executor_state.evolve(self.executor, entry)
            scheduler.evolve(self.scheduler, entry)
            deadlines.evolve(self.scheduler.deadlines, entry.envelope, self.scheduler.catalogue)
        except Exception as error:  # noqa: BLE001  whatever it is, it is found
            self.unfolded[entry.sequence] = f"{type(error).__name__}: {error}"

    def _repeats(self, entry: Stored) -> bool:
        """Tell whether a message says what must be said once, and was said: by what it is about, or by its id."""
        data = entry.envelope.data
        said: list[str] = []
        match data:
            case FlowStarted() | FlowSkipped():
                said.append(f"execution {data.execution_id} began or was skipped")
            case FlowCompleted():
                said.append(f"execution {data.execution_id} completed")
            case BackupRequested():
                said.append(f"backup {data.backup_id} was requested in round {data.round}")
            case _:
                pass
        if isinstance(data, FlowEvent) and not isinstance(data, AttemptEvent | BackupRequested):
            said.append(f"decision {entry.envelope.id} was taken")
        elif isinstance(data, Command):
            said.append(f"command {entry.envelope.id} was given")
        for what in said:
            first = self._said.setdefault(what, entry.sequence)
            if first in self.dead:  # it could not be used, and this is it again
                self._said[what] = entry.sequence
            elif first != entry.sequence:
                self.repeats[entry.sequence] = f"message {entry.sequence:,} says again that {what} (message {first:,})"
                return True
        return False

    def _switch(self, entry: Stored, event: FlowDefined | ScheduleDefined) -> None:
        key = ("flow" if isinstance(event, FlowDefined) else "schedule", event.id)
        if event.definition is not None and event.definition.enabled:
            self.off.pop(key, None)
        else:
            self.off.setdefault(key, entry)

    def _check(self, entry: Stored, started: FlowStarted) -> None:
        """Note a start by schedule at an occurrence from when its flow or schedule was off already."""
        if started.execution_type != "scheduled" or started.occurrence is None:
            return
        flow = self.executor.catalogue.flows.get(started.flow_id)
        keys = [("flow", started.flow_id), ("schedule", (flow.schedule_id if flow else None) or "")]
        for key in keys:
            off = self.off.get(key)
            if off is not None and started.occurrence > off.envelope.time:
                self.wrong[entry.sequence] = (
                    f"execution {started.execution_id} (message {entry.sequence:,}, decided on message "
                    f"{entry.envelope.decidedon or 'unknown'}) began by schedule for {instant(started.occurrence)}, "
                    f"and {key[0]} {key[1]} had been disabled or deleted before (message {off.sequence:,})"
                )
                return

    def _backup(self, entry: Stored, event: BackupEvent) -> None:
        id_, at = event.backup_id, entry.stored_at
        match event:
            case BackupRequested():
                self.requested[id_] = Request(sequence=entry.sequence, event=event, quiet=at + GRACE)
            case BackupAbandoned():
                self.abandoned.add(event.request)
            case BackupStarted() | BackupProgressed() | BackupRetrying():
                self.begun[id_] = max(event.attempt, self.begun.get(id_, 0))
                if request := self.requested.get(id_):
                    delay = timedelta(seconds=event.delay_seconds if isinstance(event, BackupRetrying) else 0)
                    self.requested[id_] = replace(request, quiet=max(request.quiet, at + delay + GRACE))
            case _:
                if not (isinstance(event, AttemptEvent) and event.attempt < self.begun.get(id_, 0)):
                    self.requested.pop(id_, None)
                    self.begun.pop(id_, None)

    def _command(self, entry: Stored) -> None:
        data = entry.envelope.data
        if isinstance(data, Create | Change | SetFreeze | LiftFreeze):
            self.commands[entry.envelope.id] = entry
        elif isinstance(data, Defined | Rejected):
            self.commands.pop(entry.envelope.causationid or "", None)

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
    work, notes = await log.queue(WORKER_QUEUE), await log.notes("worker.")
    await _read_on(log, folded)
    yield Finding(level="ok", text=f"the log answers, and holds messages up to {folded.position:,}")
    present = await log.time()
    workers = Workers(notes, present)
    yield _of(
        _lost(work, workers, folded, present), f"every backup without an end is in the queue: {len(folded.requested)}"
    )
    if work.pending and not work.listeners and not workers.alive:
        yield _problem(f"{work.pending} backups wait in the queue, and no worker asks for them: is one running?")
    yield _slots(folded)
    yield _of(
        _settleable(folded, folded.repeats),
        f"every trigger has one outcome, every execution one end; {len(folded.executor.executions)} are running",
    )
    yield _of(_settleable(folded, folded.wrong), "nothing ran while it was disabled")
    yield _of(
        (f"no service can take in message {sequence:,}: {error}" for sequence, error in folded.unfolded.items()),
        "every message can be taken in",
    )
    yield await _checkpoint(log, folded)
    owed, late, asked = folded.owed_by_executor, folded.owed_by_scheduler, set(folded.commands)
    if owed or late or asked:
        await asyncio.sleep(PATIENCE)
        await _read_on(log, folded)
        owed = {id_: kind for id_, kind in folded.owed_by_executor.items() if id_ in owed}
        late &= folded.owed_by_scheduler
        asked &= folded.commands.keys()
    yield _of(
        (f"the registry owes command {id_} an answer: is one running?" for id_ in sorted(asked)),
        "the registry owes nothing",
    )
    yield _of(
        (f"the executor owes {kind} {id_}: is one running?" for id_, kind in owed.items()),
        "the executor owes nothing: whatever waits has its reason",
    )
    yield _of(
        (f"the scheduler owes flow {flow_id} an occurrence or a deadline: is one running?" for flow_id in sorted(late)),
        "the scheduler owes nothing",
    )
    yield await _tables(log, tables, folded)
    yield _of(_letters(folded), "every message could be used, or is settled")


class Workers:
    """What living workers have pinned up: which backups they hold."""

    def __init__(self, notes: Mapping[str, Note], present: datetime) -> None:
        living = [note.value for note in notes.values() if present - note.at < FRESH]
        self.alive = bool(living)
        self.held = {str(backup_id) for value in living for backup_id in value.get("holding", ())}


def _lost(work: QueueState, workers: Workers, folded: Folded, present: datetime) -> Iterator[Fault]:
    """Yield requests that nobody works on, and nobody will be given."""
    for id_, request in folded.requested.items():
        if request.sequence in folded.abandoned:
            continue
        if request.sequence <= work.acknowledged:
            text = f"its request (message {request.sequence:,}) is no longer in the queue"
        elif (
            workers.alive
            and work.listeners
            and request.sequence <= work.delivered
            and id_ not in workers.held
            and present > request.quiet
        ):
            text = (
                f"its request (message {request.sequence:,}) was given to a worker, none holds it, and slots are free"
            )
        else:
            continue
        event = request.event
        remedy = BackupAbandoned(
            flow_id=event.flow_id,
            execution_id=event.execution_id,
            backup_id=id_,
            context_id=event.context_id,
            request=request.sequence,
        )
        yield Fault(text=f"backup {id_} has no end, and {text}", remedy=remedy)


def _settleable(folded: Folded, found: Mapping[int, str]) -> Iterator[Fault]:
    """Yield what cannot be undone, and was not settled yet."""
    for sequence, text in found.items():
        if sequence not in folded.settled:
            yield Fault(text=text, remedy=DeadSettled(sequence=sequence, how="dismissed"))


def _letters(folded: Folded) -> Iterator[Fault]:
    known = folded.repeats.keys() | folded.wrong.keys()
    return _settleable(
        folded,
        {
            sequence: f"message {sequence:,} on {letter.subject} could not be used by the {letter.service} "
            f"({letter.reason}): {letter.error}"
            for sequence, letter in folded.dead.items()
            if sequence not in known
        },
    )


async def _read_on(log: Log, folded: Folded, until: int | None = None) -> None:
    """Fold what is on the log now, or up to a sequence."""
    async for batch in log.follow([">"], after=folded.position):
        for entry in batch.entries:
            if until is not None and entry.sequence > until:
                return
            folded.take(entry)
        if batch.caught_up:
            return


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
        counts = entry.sequence <= folded.position and entry.sequence not in folded.repeats | folded.unfolded
        if isinstance(entry, Stored) and counts:
            executor_state.evolve(restarted, entry)
    whole = folded.executor
    same = restarted.executions.keys() == whole.executions.keys() and restarted.triggers.keys() == whole.triggers.keys()
    same &= restarted.in_flight.total == whole.in_flight.total
    faults = [] if same else [f"the executor's checkpoint {position:,} leaves out something that is not over"]
    return _of(faults, f"the executor's checkpoint, {position:,}, leaves out nothing")


async def _tables(log: Log, tables: AsyncEngine, folded: Folded) -> Finding:
    """Compare one moment of the tables with the log up to their position."""
    created = (await log.identity()).created
    deadline = asyncio.get_running_loop().time() + PATIENCE
    began: int = -1
    try:
        while True:
            async with database.snapshot(tables) as moment:
                rows = await _rows(moment, select(t.projection))
                if rows and rows[0]["stream_created"] != created:
                    text = "the tables belong to another log: use the database of this one, or rebuild it"
                    return _problem(text)
                position = rows[0]["position"] if rows else 0
                if position >= folded.position:
                    await _read_on(log, folded, until=position)
                    fine = f"the tables say what the log says up to {position:,}; totals equal a recount"
                    return _of(await _differing(moment, folded), fine)
            began = position if began < 0 else began
            if asyncio.get_running_loop().time() > deadline:
                text = f"the tables hold the log up to {position:,}, {folded.position - position:,} messages behind: "
                if position > began:
                    return Finding(level="note", text=text + "the recorder is catching up")
                return _problem(text + "is a recorder running?")
            await asyncio.sleep(PATIENCE / 10)
    except SQLAlchemyError as error:
        return _problem(f"the tables cannot be read: {str(error.__cause__ or error).splitlines()[0]}")


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
