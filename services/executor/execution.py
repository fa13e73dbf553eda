"""One execution that has not completed: its terms, its plan, how far it is, and how events move it on. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from datetime import datetime

from msgspec import structs

from bus.envelope import Envelope
from schemas.base import Value
from schemas.events import (
    AttemptEvent,
    BackupCancelled,
    BackupCompleted,
    BackupFailed,
    BackupRequested,
    BackupRetrying,
    BackupSkipped,
    BackupStarted,
    BackupStatus,
    FlowCancelling,
    FlowOverdue,
    FlowPlanned,
    FlowStarted,
    PlannedBackup,
    StopOrigin,
)
from services.executor.admission import Claim, urgency

EndEvent = BackupCompleted | BackupFailed | BackupCancelled | BackupSkipped


class Stop(Value, frozen=True, kw_only=True):
    """That an execution, or one VM of it, is to stop. `worker_silent`: a worker did not respond in time."""

    origin: StopOrigin
    reason: str
    worker_silent: bool = False


class NewestRequest(Value, frozen=True, kw_only=True):
    """The newest request of a backup in flight: its sequence on the log, and when the first request was made.

    `delay`: seconds for which no worker needs to hold it, as its last attempt has failed and the next one is to wait.
    `pool`: of the workers that may take it, which have `worker_labels`.
    """

    sequence: int
    round: int
    requested_at: datetime
    pool: str | None = None
    worker_labels: Mapping[str, str] = {}
    delay: int = 0


class BackupEnd(Value, frozen=True, kw_only=True):
    """How one backup ended. The first end on the log counts, unless a newer attempt had begun before it."""

    status: BackupStatus
    bytes_transferred: int
    error: str | None


class Backup(Value, frozen=True, kw_only=True):
    """One backup of an execution: a `schemas.events.OneBackup`."""

    flow_id: str
    execution_id: str
    backup_id: str
    context_id: str


class Execution:
    """An execution that has not completed. Its methods that are named after events change it in place."""

    def __init__(self, started: FlowStarted, time: datetime, sequence: int) -> None:
        self.started = started
        self.started_at = time
        self.sequence = sequence
        self.time = time  # of the last event that moved it on
        self.cause = f"started:{started.execution_id}"  # id of that event
        self.parts: set[int] = set()  # of the plan
        self.stop: Stop | None = None  # of the whole of it
        self.stops: dict[str, Stop] = {}  # by context id, of one VM
        self.late: datetime | None = None  # when its start deadline passed
        self.backfill_cancelled: str | None = None  # why the backfill that it is part of was cancelled
        self.overdue: datetime | None = None  # when it should have ended
        self.waiting: dict[str, PlannedBackup] = {}
        self.in_flight: dict[str, PlannedBackup] = {}
        self.requests: dict[str, NewestRequest] = {}  # of those in flight
        self.begun: dict[str, int] = {}  # of those in flight: the last attempt that a worker began
        self.ended: dict[str, BackupEnd] = {}

    # --- events -------------------------------------------------------------------------------------------------------

    def plan(self, planned: FlowPlanned) -> None:
        """Take in a part of the plan."""
        if planned.part not in self.parts:
            self.parts.add(planned.part)
            known = self.in_flight.keys() | self.ended.keys()
            self.waiting.update({one.backup_id: one for one in planned.backups if one.backup_id not in known})

    def cancel(self, event: FlowCancelling, sent: Envelope) -> None:
        """Take in that it, or one VM of it, is to stop. The first stop counts."""
        stop = Stop(origin=event.origin, reason=event.reason)
        if event.context_id is None:
            self.stop = self.stop or stop
        else:
            self.stops.setdefault(event.context_id, stop)
        self._move(sent)

    def pass_deadline(self, event: FlowOverdue) -> None:
        """Take in that a deadline has passed."""
        match event.deadline:
            case "start":
                self.late = event.passed_at
            case "finish":
                self.overdue = event.passed_at
            case "stop" if event.context_id is not None:
                if stop := self.stops.get(event.context_id):
                    self.stops[event.context_id] = structs.replace(stop, worker_silent=True)
            case "stop":
                if self.stop is not None:
                    self.stop = structs.replace(self.stop, worker_silent=True)

    def request(self, event: BackupRequested, sequence: int) -> bool:
        """Take in a request; return whether it is the newest one of its backup."""
        if backup := self.waiting.pop(event.backup_id, None):
            self.in_flight[backup.backup_id] = backup
        elif event.backup_id not in self.in_flight or event.round <= self.requests[event.backup_id].round:
            return False
        self.requests[event.backup_id] = NewestRequest(
            sequence=sequence,
            round=event.round,
            requested_at=event.requested_at,
            pool=event.pool,
            worker_labels=event.worker_labels,
        )
        return True

    def begin(self, event: BackupStarted) -> None:
        """Take in that a worker has begun an attempt at a backup."""
        if event.backup_id in self.in_flight:
            self.begun[event.backup_id] = max(event.attempt, self.begun.get(event.backup_id, 0))
            self._delay(event.backup_id, 0)

    def retry(self, event: BackupRetrying) -> None:
        """Take in that an attempt has failed, and another one is to follow."""
        if event.attempt == self.begun.get(event.backup_id):
            self._delay(event.backup_id, event.delay_seconds)

    def end(self, event: EndEvent, end: BackupEnd, sent: Envelope) -> bool:
        """Take in the end of a backup; return whether it counts."""
        if event.backup_id in self.ended:
            return False
        if isinstance(event, AttemptEvent) and event.attempt < self.begun.get(event.backup_id, 0):
            return False  # a worker that was thought dead, and whose backup another one has begun anew
        for table in (self.waiting, self.in_flight, self.begun, self.requests):
            table.pop(event.backup_id, None)
        self.ended[event.backup_id] = end
        self._move(sent)
        return True

    def _move(self, sent: Envelope) -> None:
        self.time, self.cause = sent.time, sent.id

    def _delay(self, backup_id: str, seconds: int) -> None:
        request = self.requests[backup_id]
        if request.delay != seconds:
            self.requests[backup_id] = structs.replace(request, delay=seconds)

    # --- how far it is ------------------------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        return len(self.parts) == self.started.parts and not self.waiting and not self.in_flight

    @property
    def stopping(self) -> bool:
        """Whether anything in it is not to be started any more."""
        return self.stop is not None or bool(self.stops) or self.late is not None

    @property
    def open_vms(self) -> set[str]:
        """The VMs whose backups have not ended."""
        return {backup.context_id for backup in (*self.waiting.values(), *self.in_flight.values())}

    def backup(self, planned: PlannedBackup) -> Backup:
        """Return which backup a planned one is."""
        return Backup(
            flow_id=self.started.flow_id,
            execution_id=self.started.execution_id,
            backup_id=planned.backup_id,
            context_id=planned.context_id,
        )

    def stop_of(self, backup: PlannedBackup) -> Stop | None:
        """Return why a backup is to stop, None when it is not."""
        return self.stop or self.stops.get(backup.context_id)

    def claim(self, stopping: Container[tuple[str, str | None]] = ()) -> Claim | None:
        """Return its claim to slots, None when it has none. `stopping`: what is being stopped just now."""
        id_ = self.started.execution_id
        if not self.waiting or self.stop is not None or self.late is not None or (id_, None) in stopping:
            return None
        waiting: Iterable[PlannedBackup] = self.waiting.values()
        if self.stops or stopping:
            waiting = [
                one for one in waiting if one.context_id not in self.stops and (id_, one.context_id) not in stopping
            ]
        return Claim(
            execution_id=id_,
            flow_id=self.started.flow_id,
            repository_id=self.started.repository_id,
            urgency=urgency(
                self.started_at,
                manual=self.started.execution_type != "scheduled",
                priority=self.started.priority,
            ),
            limit=self.started.max_concurrent_jobs,
            waiting=waiting,
        )
