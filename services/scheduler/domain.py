"""The scheduler's decisions: which occurrences are due, which deadlines have passed. Pure; `now` is an argument.

State is the catalogue and, for each flow, the last instant that the log already accounts for. What lies between that
and `now` is owed: it becomes `flow.due` or `flow.missed`, one outcome for each occurrence.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from datetime import datetime, timedelta

from bus.envelope import Envelope
from schemas.definitions import Flow, Schedule
from schemas.events import Defined, FlowDefined, FlowDue, FlowMissed, FlowOverdue, ScheduleDefined
from services.catalogue import Catalogue
from services.scheduler import calendar
from services.scheduler.deadlines import Deadlines

Said = FlowDue | FlowMissed | FlowOverdue

ON_TIME = timedelta(seconds=60)  # an occurrence later than this was not fired by a scheduler that was there
CATCH_UP_LIMIT = 100  # occurrences of one flow that `catch_up: all` runs after one downtime


class State:
    """What the scheduler knows. `evolve` changes it in place."""

    def __init__(self) -> None:
        self.catalogue = Catalogue()
        self.deadlines = Deadlines()
        self.accounted: dict[str, datetime] = {}  # by flow: the last occurrence that the log has an outcome for
        self._due: list[tuple[datetime, str]] = []  # heap of (next occurrence, flow); may hold outdated entries
        self._next: dict[str, datetime] = {}  # by flow: its entry in the heap that counts
        self._flows: dict[str, set[str]] = {}  # by schedule: the flows on it
        self._outdated: set[str] = set()  # flows whose next occurrence is to be found anew

    @property
    def wake_at(self) -> datetime | None:
        """The first instant at which there may be something to decide."""
        return min((at for at in (self._next_due, self.deadlines.wake_at) if at is not None), default=None)

    @property
    def _next_due(self) -> datetime | None:
        while self._outdated:
            self._plan(self._outdated.pop())
        while self._due and self._next.get(self._due[0][1]) != self._due[0][0]:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def owing(self, now: datetime) -> list[str]:
        """Return the flows whose next occurrence is not after `now`, earliest first."""
        flows: list[str] = []
        entries: list[tuple[datetime, str]] = []
        while (at := self._next_due) is not None and at <= now:
            entry = heapq.heappop(self._due)
            entries.append(entry)
            flows.append(entry[1])
        for entry in entries:  # they stay until the log says what became of them
            heapq.heappush(self._due, entry)
        return flows

    def plan(self, flow_id: str) -> None:
        """Have a flow's next occurrence found anew, once, however many events ask for it before it is needed."""
        self._outdated.add(flow_id)

    def _plan(self, flow_id: str) -> None:
        self._next.pop(flow_id, None)
        flow = self.catalogue.flows.get(flow_id)
        schedule = armed(self.catalogue, flow)
        if flow is None or schedule is None:
            return
        at = calendar.next_occurrence(schedule, self.since(flow, schedule))
        if at is not None:
            self._next[flow_id] = at
            heapq.heappush(self._due, (at, flow_id))

    def since(self, flow: Flow, schedule: Schedule) -> datetime:
        """Return the instant after which occurrences are owed: creating, editing or enabling never fires the past."""
        since = max(flow.armed_at, schedule.armed_at)
        accounted = self.accounted.get(flow.id)
        return since if accounted is None else max(since, accounted)

    def move(self, flow_id: str, before: str | None, after: str | None) -> None:
        """Keep the index from schedules to flows."""
        if before is not None:
            self._flows.get(before, set()).discard(flow_id)
        if after is not None:
            self._flows.setdefault(after, set()).add(flow_id)

    def flows_on(self, schedule_id: str) -> list[str]:
        return sorted(self._flows.get(schedule_id, ()))


def armed(catalogue: Catalogue, flow: Flow | None) -> Schedule | None:
    """Return the schedule that fires a flow, None when nothing does."""
    if flow is None or not flow.enabled or flow.schedule_id is None:
        return None
    schedule = catalogue.schedules.get(flow.schedule_id)
    return schedule if schedule is not None and schedule.enabled else None


def evolve(state: State, sent: Envelope) -> State:
    """Take in one message of the log: a definition, or what became of an occurrence."""
    match sent.data:
        case FlowDefined() as event:
            before = state.catalogue.flows.get(event.id)
            state.catalogue.evolve(event)
            now = event.definition
            state.move(event.id, before.schedule_id if before else None, now.schedule_id if now else None)
            if now is None:
                state.accounted.pop(event.id, None)
            state.plan(event.id)
        case ScheduleDefined() as event:
            state.catalogue.evolve(event)
            for flow_id in state.flows_on(event.id):
                state.plan(flow_id)
        case FlowDue() as event:
            _account(state, event.flow_id, event.occurrence)
        case FlowMissed() as event:
            _account(state, event.flow_id, event.last)
        case event if isinstance(event, Defined):
            state.catalogue.evolve(event)
        case _:
            pass
    return state


def _account(state: State, flow_id: str, occurrence: datetime) -> None:
    known = state.accounted.get(flow_id)
    if known is None or occurrence > known:
        state.accounted[flow_id] = occurrence
        state.plan(flow_id)


def decide(state: State, now: datetime) -> list[Sequence[Said]]:
    """Return what must be said now, together for each flow: what is missed and due, and which deadlines passed."""
    owed: list[Sequence[Said]] = [events for flow_id in state.owing(now) if (events := _owed(state, flow_id, now))]
    overdue: dict[str, list[Said]] = {}
    for event in state.deadlines.passed(now):
        overdue.setdefault(event.flow_id, []).append(event)
    return [*owed, *overdue.values()]


def _owed(state: State, flow_id: str, now: datetime) -> Sequence[FlowDue | FlowMissed]:
    flow = state.catalogue.flows[flow_id]
    schedule = armed(state.catalogue, flow)
    assert schedule is not None, "a flow without a schedule is not planned"
    owed: list[datetime] = []
    for at in calendar.occurrences(schedule, state.since(flow, schedule)):
        if at > now:
            break
        owed.append(at)
    missed, due = _caught_up(schedule, owed, now)
    events: list[FlowDue | FlowMissed] = []
    if missed:
        events.append(
            FlowMissed(flow_id=flow_id, schedule_id=schedule.id, first=missed[0], last=missed[-1], count=len(missed))
        )
    events += [FlowDue(flow_id=flow_id, occurrence=at, schedule_id=schedule.id) for at in due]
    return events


def _caught_up(schedule: Schedule, owed: list[datetime], now: datetime) -> tuple[list[datetime], list[datetime]]:
    """Split what is owed, in order, into what is missed and what is due (rule: DESIGN §5, catch-up window).

    An occurrence that is on time is due. Of the late ones within the window `catch_up` runs none, the last, or all up
    to a limit; the last only when nothing on time follows it.
    """
    window = timedelta(seconds=schedule.catch_up_window_seconds)
    on_time = [at for at in owed if now - at <= ON_TIME]
    late = owed[: len(owed) - len(on_time)]
    kept = [at for at in late if now - at <= window]
    match schedule.catch_up:
        case "none":
            kept = []
        case "last":
            kept = kept[-1:] if not on_time else []
        case "all":
            kept = kept[-CATCH_UP_LIMIT:]
    return late[: len(late) - len(kept)], kept + on_time
