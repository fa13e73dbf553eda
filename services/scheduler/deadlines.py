"""The deadlines of executions: by when each must have begun, ended, or stopped. Pure; time is an argument.

A deadline that passes becomes `flow.overdue`, once; what follows from it, the executor decides.
"""

from __future__ import annotations

import heapq
from datetime import datetime, timedelta

from bus.envelope import Envelope
from schemas.base import Value, after
from schemas.commands import ExecuteFlow, RetryExecution
from schemas.events import (
    Deadline,
    FlowCancelling,
    FlowCompleted,
    FlowDue,
    FlowOverdue,
    FlowSkipped,
    FlowStarted,
)
from schemas.ids import manual_execution_id, scheduled_execution_id
from services.catalogue import Catalogue
from services.processed import ProcessedIds

GRACE = timedelta(seconds=60)  # for a worker to report that it has stopped: twice what it takes to notice a dead one


class _Key(Value, frozen=True, order=True):
    execution_id: str
    deadline: Deadline
    context_id: str


class Deadlines:
    """What must have happened by when. `evolve` changes it in place."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, _Key]] = []  # may hold outdated entries
        self._open: dict[str, dict[_Key, datetime]] = {}  # by execution: those that count
        self._flows: dict[str, str] = {}  # by execution: its flow
        self.processed = ProcessedIds()  # executions by hand that began or were skipped: a command may come again

    @property
    def wake_at(self) -> datetime | None:
        """When the next one passes."""
        while (
            self._heap and self._open.get(self._heap[0][1].execution_id, {}).get(self._heap[0][1]) != self._heap[0][0]
        ):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def passed(self, now: datetime) -> list[FlowOverdue]:
        """Return what is overdue at `now`, earliest first. It stays so until `flow.overdue` is on the log."""
        entries: dict[tuple[datetime, _Key], None] = {}  # in order; one that was set again is in the heap twice
        while (at := self.wake_at) is not None and at <= now:
            entries[heapq.heappop(self._heap)] = None
        for entry in entries:
            heapq.heappush(self._heap, entry)
        return [
            FlowOverdue(
                flow_id=self._flows[key.execution_id],
                execution_id=key.execution_id,
                deadline=key.deadline,
                passed_at=at,
                context_id=key.context_id or None,
            )
            for at, key in entries
        ]

    def set(self, flow_id: str, key: _Key, at: datetime) -> None:
        self._flows[key.execution_id] = flow_id
        known = self._open.setdefault(key.execution_id, {})
        if known.get(key) != at:
            known[key] = at
            heapq.heappush(self._heap, (at, key))

    def drop(self, key: _Key) -> None:
        known = self._open.get(key.execution_id, {})
        known.pop(key, None)
        if not known:
            self.forget(key.execution_id)

    def forget(self, execution_id: str) -> None:
        self._open.pop(execution_id, None)
        self._flows.pop(execution_id, None)


def evolve(deadlines: Deadlines, sent: Envelope, catalogue: Catalogue) -> Deadlines:
    """Take in one message of the log: what sets a deadline, or what it was for."""
    match sent.data:
        case FlowDue() as due:
            _wait(deadlines, catalogue, due.flow_id, scheduled_execution_id(due.flow_id, due.occurrence), sent.time)
        case ExecuteFlow() | RetryExecution() as command if manual_execution_id(sent.id) not in deadlines.processed:
            flow_id = command.id if isinstance(command, ExecuteFlow) else command.flow_id
            _wait(deadlines, catalogue, flow_id, manual_execution_id(sent.id), sent.time)
        case FlowStarted() as started:
            _remember(deadlines, started)
            deadlines.drop(_Key(started.execution_id, "start", ""))
            if started.start_by is not None:
                deadlines.set(started.flow_id, _Key(started.execution_id, "start", ""), started.start_by)
            if started.finish_by is not None:
                deadlines.set(started.flow_id, _Key(started.execution_id, "finish", ""), started.finish_by)
        case FlowCancelling() as cancelling:
            key = _Key(cancelling.execution_id, "stop", cancelling.context_id or "")
            deadlines.set(cancelling.flow_id, key, after(sent.time, GRACE))
        case FlowOverdue() as overdue:
            deadlines.drop(_Key(overdue.execution_id, overdue.deadline, overdue.context_id or ""))
        case FlowSkipped() as skipped:
            _remember(deadlines, skipped)
            deadlines.forget(skipped.execution_id)
        case FlowCompleted() as over:
            deadlines.forget(over.execution_id)
        case _:
            pass
    return deadlines


def _remember(deadlines: Deadlines, outcome: FlowStarted | FlowSkipped) -> None:
    if outcome.execution_type != "scheduled" and outcome.execution_id not in deadlines.processed:
        deadlines.processed.add(outcome.execution_id, 0)


def _wait(deadlines: Deadlines, catalogue: Catalogue, flow_id: str, execution_id: str, since: datetime) -> None:
    """Set by when an execution that may have to wait for another one must have begun."""
    flow = catalogue.flows.get(flow_id)
    policy = catalogue.policies.get(flow.policy_id) if flow and flow.policy_id else None
    if policy and policy.start_deadline_seconds:
        at = after(since, timedelta(seconds=policy.start_deadline_seconds))
        deadlines.set(flow_id, _Key(execution_id, "start", ""), at)
