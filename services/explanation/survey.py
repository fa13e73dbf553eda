"""A survey of the log: definitions, and what was asked, due and decided about flows. Pure.

What a message repeats is on the log already, and the first one counts, as for every service.
"""

from __future__ import annotations

from datetime import datetime

from bus.envelope import Stored
from schemas.commands import BackupVm, Command, ExecuteFlow, RetryExecution
from schemas.events import (
    Defined,
    ExecutionEvent,
    FlowBackfillCancelled,
    FlowBackfilling,
    FlowCancelling,
    FlowCompleted,
    FlowDue,
    FlowEvent,
    FlowMissed,
    FlowOverdue,
    FlowPlanned,
    FlowSkipped,
    FlowStarted,
)
from schemas.ids import AD_HOC, backfill_execution_id, manual_execution_id, scheduled_execution_id
from services.explanation.definitions import Definitions


class Run:
    """One trigger of a flow, and all messages of what it led to: an execution, a skip, or nothing yet."""

    def __init__(self, id_: str, flow_id: str) -> None:
        self.id = id_
        self.flow_id = flow_id
        self.occurrence: datetime | None = None
        self.backfill_id: str | None = None
        self.trigger: Stored | None = None  # that it is due, the command, or that a backfill begins
        self.started: Stored | None = None
        self.parts: dict[int, Stored] = {}  # of its plan
        self.skipped: Stored | None = None
        self.stops: list[Stored] = []
        self.overdue: list[Stored] = []
        self.completed: Stored | None = None

    @property
    def terms(self) -> FlowStarted | None:
        """The terms on which it began, None when it did not."""
        data = self.started.envelope.data if self.started else None
        return data if isinstance(data, FlowStarted) else None

    @property
    def outcome(self) -> Stored | None:
        return self.started or self.skipped

    @property
    def first(self) -> Stored:
        """Its first message: it has one."""
        known = [self.trigger, self.started, self.skipped, *self.stops, *self.overdue, self.completed]
        return min((one for one in known if one is not None), key=lambda one: one.sequence)

    @property
    def known(self) -> bool:
        """Whether any message tells of it."""
        return any((self.trigger, self.started, self.skipped))

    def is_under_way(self, at: datetime) -> bool:
        """Tell whether it ran at an instant."""
        if self.started is None or self.started.envelope.time > at:
            return False
        return self.completed is None or self.completed.envelope.time >= at

    def open_between(self, first: int, last: int) -> bool:
        """Tell whether it was under way at some point between two sequences."""
        if self.started is None or self.started.sequence >= last:
            return False
        return self.completed is None or self.completed.sequence > first


class Survey:
    """What a log tells of definitions and flows. `take` changes it in place."""

    def __init__(self) -> None:
        self.definitions = Definitions()
        self.runs: dict[str, Run] = {}  # by execution
        self.missed: dict[str, list[Stored]] = {}  # by flow
        self.backfills_cancelled: dict[str, Stored] = {}  # by backfill
        self.last = 0  # sequence

    def take(self, entry: Stored) -> None:
        """Take in one message."""
        self.last = max(self.last, entry.sequence)
        match entry.envelope.data:
            case Command() as command:
                self._ask(entry, command)
            case FlowEvent() as event:
                self._flow(entry, event)
            case event if isinstance(event, Defined):
                self.definitions.take(entry, event)
            case _:
                pass

    def of_flow(self, flow_id: str) -> list[Run]:
        """Return a flow's runs, in the order of the log."""
        found = [run for run in self.runs.values() if run.flow_id == flow_id and run.known]
        return sorted(found, key=lambda run: run.first.sequence)

    def beside(self, run: Run) -> list[Run]:
        """Return the runs that count as running for the same as one: of its backfill, or else of its flow."""
        mine = run.backfill_id or run.flow_id
        others = (one for one in self.runs.values() if one is not run and (one.backfill_id or one.flow_id) == mine)
        return sorted((one for one in others if one.known), key=lambda one: one.first.sequence)

    def _run(self, id_: str, flow_id: str) -> Run:
        return self.runs.setdefault(id_, Run(id_, flow_id))

    def _ask(self, entry: Stored, command: Command) -> None:
        flow_id = _asked_flow(command)
        if flow_id is not None:
            self._begin(self._run(manual_execution_id(entry.envelope.id), flow_id), entry)

    def _begin(self, run: Run, trigger: Stored, occurrence: datetime | None = None) -> None:
        if run.trigger is None and run.outcome is None:
            run.trigger, run.occurrence = trigger, occurrence

    def _flow(self, entry: Stored, event: FlowEvent) -> None:
        match event:
            case FlowDue():
                run = self._run(scheduled_execution_id(event.flow_id, event.occurrence), event.flow_id)
                self._begin(run, entry, event.occurrence)
            case FlowMissed():
                self.missed.setdefault(event.flow_id, []).append(entry)
            case FlowBackfilling():
                for occurrence in event.occurrences:
                    run = self._run(backfill_execution_id(event.backfill_id, occurrence), event.flow_id)
                    self._begin(run, entry, occurrence)
                    run.backfill_id = event.backfill_id
            case FlowBackfillCancelled():
                self.backfills_cancelled.setdefault(event.backfill_id, entry)
            case ExecutionEvent():
                _evolve(self._run(event.execution_id, event.flow_id), entry, event)
            case _:
                pass


def _asked_flow(command: Command) -> str | None:
    """Return the flow that a command starts an execution of, None when it starts none."""
    match command:
        case ExecuteFlow():
            return command.id
        case RetryExecution():
            return command.flow_id
        case BackupVm():
            return AD_HOC
        case _:
            return None


def _evolve(run: Run, entry: Stored, event: ExecutionEvent) -> None:
    match event:
        case FlowStarted() if run.outcome is None:
            run.started, run.occurrence = entry, event.occurrence
            run.backfill_id = event.backfill_id or run.backfill_id
        case FlowSkipped() if run.outcome is None:
            run.skipped, run.occurrence = entry, event.occurrence
        case FlowPlanned():
            run.parts.setdefault(event.part, entry)
        case FlowCancelling():
            run.stops.append(entry)
        case FlowOverdue():
            run.overdue.append(entry)
        case FlowCompleted() if run.started is not None and run.completed is None:
            run.completed = entry
        case _:
            pass
