"""The whole log, read with the services' own folds, and counted once more without them."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from bus.clock import now
from bus.envelope import Entry, Stored
from bus.log import Log
from bus.stream import WORKER_QUEUE
from schemas.base import Value
from schemas.commands import Change, Command, Create, EnrolWorker, LiftFreeze, RevokeToken, RevokeWorker, SetFreeze
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
from schemas.ids import instant
from services.executor import domain as executor
from services.executor import state as executor_state
from services.scheduler import deadlines
from services.scheduler import domain as scheduler

LATE = timedelta(seconds=10)  # of the scheduler
GRACE = timedelta(seconds=3 * WORKER_QUEUE.ack_wait)  # until a message that its worker lost was given to another one


class OpenRequest(Value, frozen=True, kw_only=True):
    """A request for a backup without an end. `quiet`: from when on no delivery of it can be expected."""

    sequence: int
    event: BackupRequested
    quiet: datetime


class Folded:
    """The whole log, read with the services' own folds, and counted once more without them."""

    def __init__(self) -> None:
        self.position = 0
        self.executor = executor_state.State()
        self.scheduler = scheduler.State()
        self.requested: dict[str, OpenRequest] = {}  # by backup
        self.begun: dict[str, int] = {}
        self.abandoned: set[int] = set()  # requests that are to be replaced
        self.commands: dict[str, Stored] = {}  # on definitions, without an outcome
        self.dead: dict[int, DeadLettered] = {}  # by message
        self.settled: set[int] = set()
        self.repeats: dict[int, str] = {}  # messages that repeat an earlier one
        self.off: dict[tuple[str, str], Stored] = {}  # flows and schedules: since when they are disabled or deleted
        self.wrong: dict[int, str] = {}  # executions that should not have begun
        self.unfolded: dict[int, str] = {}  # messages that a service's fold cannot take in
        self._once: dict[str, int] = {}  # what must be there once: where it is

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
        """Tell whether a message repeats what must be there once: by what it is about, or by its id."""
        data = entry.envelope.data
        once: list[str] = []
        match data:
            case FlowStarted() | FlowSkipped():
                once.append(f"execution {data.execution_id} began or was skipped")
            case FlowCompleted():
                once.append(f"execution {data.execution_id} completed")
            case BackupRequested():
                once.append(f"backup {data.backup_id} was requested in round {data.round}")
            case _:
                pass
        if isinstance(data, FlowEvent) and not isinstance(data, AttemptEvent | BackupRequested):
            once.append(f"decision {entry.envelope.id} was taken")
        elif isinstance(data, Command):
            once.append(f"command {entry.envelope.id} was given")
        for what in once:
            first = self._once.setdefault(what, entry.sequence)
            if first in self.dead:  # it could not be used, and this is it again
                self._once[what] = entry.sequence
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
        """Status a start by schedule at an occurrence from when its flow or schedule was off already."""
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
                self.requested[id_] = OpenRequest(sequence=entry.sequence, event=event, quiet=at + GRACE)
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
        if isinstance(data, Create | Change | SetFreeze | LiftFreeze | RevokeToken | EnrolWorker | RevokeWorker):
            self.commands[entry.envelope.id] = entry
        elif isinstance(data, Defined | Rejected):
            self.commands.pop(entry.envelope.causationid or "", None)

    @property
    def due_by_executor(self) -> dict[str, str]:
        """Decisions that should be on the log, by id, and what they are."""
        batches = executor.decide(self.executor)
        return {one.id: type(one.event).__name__ for batch in batches for one in batch}

    @property
    def due_by_scheduler(self) -> set[str]:
        """Flows whose occurrence or deadline should be on the log."""
        return {event.flow_id for events in scheduler.decide(self.scheduler, now() - LATE) for event in events}


async def read_on(log: Log, folded: Folded, until: int | None = None) -> None:
    """Fold what is on the log now, or up to a sequence."""
    async for batch in log.follow([">"], after=folded.position):
        for entry in batch.entries:
            if until is not None and entry.sequence > until:
                return
            folded.take(entry)
        if batch.caught_up:
            return
