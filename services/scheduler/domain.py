"""The scheduler's decisions: which occurrences are due, which deadlines have passed. Pure; `now` is an argument.

For each flow the log has the last occurrence with an outcome. What its schedule matches between that and `now` is due:
it becomes `flow.due` or, when it is too late, `flow.missed`, one outcome for each occurrence. What was due when a flow
or its schedule was changed stays due by the calendar of before: so an edit in the second of an occurrence neither loses
nor doubles it.
"""

from __future__ import annotations

import heapq
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from bus.envelope import Stored
from schemas.base import Value
from schemas.definitions import Schedule
from schemas.events import Defined, FlowDefined, FlowDue, FlowMissed, FlowOverdue, ScheduleDefined
from services.catalogue import Catalogue
from services.scheduler import calendar, deadlines
from services.scheduler.deadlines import Deadlines
from services.scheduler.versions import Versions

ON_TIME = timedelta(seconds=60)  # an occurrence later than this was not fired by a scheduler that was there
CATCH_UP_LIMIT = 100  # occurrences of one flow that `catch_up: all` runs after one downtime
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
REMEMBERED = 2_000  # instants of one schedule

TimeEvent = FlowDue | FlowMissed | FlowOverdue


class Span(Value, frozen=True, kw_only=True):
    """A stretch of time over which a flow is on a schedule: after `after`, up to `until` (None: for the time being)."""

    schedule: Schedule
    after: datetime
    until: datetime | None = None


class Timeline:
    """A schedule's instants, found once for all of its flows."""

    def __init__(self, schedule: Schedule, start: datetime) -> None:
        self._schedule = schedule
        self._start = start
        self._known: list[datetime] = []
        self._rest = calendar.occurrences(schedule, start)

    def next(self, after: datetime) -> datetime | None:
        """Return the first instant after `after`."""
        if after < self._start:
            return calendar.next_occurrence(self._schedule, after)
        while not self._known or self._known[-1] <= after:
            found = next(self._rest, None)
            if found is None:
                return None
            self._known.append(found)
            if len(self._known) > REMEMBERED:
                half = REMEMBERED // 2
                self._start = self._known[half - 1]
                del self._known[:half]
        return self._known[bisect_right(self._known, after)]


class State:
    """What the scheduler knows. `evolve` changes it in place.

    `horizon`: nothing is due from before it, as the log may have forgotten the outcomes.
    """

    def __init__(self, horizon: datetime = BEGINNING) -> None:
        self.catalogue = Catalogue()
        self.versions = Versions()
        self.deadlines = Deadlines()
        self.horizon = horizon
        self.accounted: dict[str, datetime] = {}  # by flow: the last occurrence with an outcome on the log
        self._left: dict[str, list[Span]] = {}  # by flow: spans that have ended, while occurrences of them are due
        self._due: list[tuple[datetime, str]] = []  # heap of (instant, flow); may hold outdated entries
        self._next: dict[str, datetime] = {}  # by flow: its entry in the heap that counts
        self._flows: dict[str, set[str]] = {}  # by schedule: the flows on it
        self._outdated: set[str] = set()  # flows whose next occurrence is to be computed again
        self._timelines: dict[str, Timeline] = {}  # by schedule, as it is now

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

    def due_flows(self, now: datetime) -> list[str]:
        """Return the flows with a due occurrence at `now`, earliest first."""
        flows: list[str] = []
        entries: list[tuple[datetime, str]] = []
        while (at := self._next_due) is not None and at <= now:
            entry = heapq.heappop(self._due)
            if entry not in entries[-1:]:
                entries.append(entry)
                flows.append(entry[1])
        for entry in entries:  # they stay until the log has the outcome
            heapq.heappush(self._due, entry)
        return flows

    def plan(self, flow_id: str) -> None:
        """Have a flow's next occurrence computed again, once it is needed."""
        self._outdated.add(flow_id)

    def _plan(self, flow_id: str) -> None:
        self._next.pop(flow_id, None)
        at = self._first(flow_id)
        if at is not None:
            self._next[flow_id] = at
            heapq.heappush(self._due, (at, flow_id))

    def _first(self, flow_id: str) -> datetime | None:
        """Return when a flow's first due occurrence fires: at the occurrence, later by the flow's jitter."""
        left: list[Span] = []
        found: list[datetime] = []
        for span in self._left.get(flow_id, ()):
            at = calendar.next_occurrence(span.schedule, self.since(flow_id, span))
            if at is not None and span.until is not None and at <= span.until:
                left.append(span)
                found.append(at + calendar.jitter(span.schedule, flow_id))
        if left:
            self._left[flow_id] = left
        else:
            self._left.pop(flow_id, None)
        span = self.current(flow_id)
        if span is not None:
            at = self._timeline(span.schedule).next(self.since(flow_id, span))
            if at is not None:
                found.append(at + calendar.jitter(span.schedule, flow_id))
        return min(found, default=None)

    def _timeline(self, schedule: Schedule) -> Timeline:
        if schedule.id not in self._timelines:
            start = min(self.since(id_, span) for id_ in self.flows_on(schedule.id) if (span := self.current(id_)))
            self._timelines[schedule.id] = Timeline(schedule, start)
        return self._timelines[schedule.id]

    def current(self, flow_id: str) -> Span | None:
        """Return what fires a flow now, None when nothing does."""
        flow = self.catalogue.flows.get(flow_id)
        if flow is None or not flow.enabled or flow.schedule_id is None:
            return None
        schedule = self.catalogue.schedules.get(flow.schedule_id)
        if schedule is None or not schedule.enabled:
            return None
        # creating, editing or enabling never fires the past
        return Span(schedule=schedule, after=max(flow.armed_at, schedule.armed_at))

    def spans(self, flow_id: str) -> list[Span]:
        """Return the spans that may have due occurrences, the oldest first."""
        current = self.current(flow_id)
        return [*self._left.get(flow_id, ()), *([current] if current else [])]

    def since(self, flow_id: str, span: Span) -> datetime:
        """Return the instant after which occurrences of a span have no outcome."""
        return max(span.after, self.accounted.get(flow_id, self.horizon))

    def leave(self, flow_id: str, before: Span | None, until: datetime) -> None:
        """Keep the span that ends now, when another one begins."""
        now = self.current(flow_id)
        same = before is not None and now is not None and before.after == now.after
        if before is not None and not (same and now is not None and before.schedule.id == now.schedule.id):
            self._left.setdefault(flow_id, []).append(Span(schedule=before.schedule, after=before.after, until=until))
        self.plan(flow_id)

    def move(self, flow_id: str, before: str | None, after: str | None) -> None:
        """Keep the index from schedules to flows."""
        if before is not None:
            self._flows.get(before, set()).discard(flow_id)
        if after is not None:
            self._flows.setdefault(after, set()).add(flow_id)

    def flows_on(self, schedule_id: str) -> list[str]:
        return sorted(self._flows.get(schedule_id, ()))

    def forget_timeline(self, schedule_id: str) -> None:
        self._timelines.pop(schedule_id, None)


def evolve(state: State, entry: Stored) -> State:
    """Take in one message of the log: a definition, or the outcome of an occurrence."""
    sent = entry.envelope
    match sent.data:
        case FlowDefined() as event:
            before, span = state.catalogue.flows.get(event.id), state.current(event.id)
            state.versions.evolve_flow(event, before, entry.sequence, sent.time)
            state.catalogue.evolve(event)
            now = event.definition
            state.move(event.id, before.schedule_id if before else None, now.schedule_id if now else None)
            state.leave(event.id, span, sent.time)
        case ScheduleDefined() as event:
            spans = {flow_id: state.current(flow_id) for flow_id in state.flows_on(event.id)}
            before = state.catalogue.schedules.get(event.id)
            state.versions.evolve_schedule(event, before, entry.sequence, sent.time)
            state.catalogue.evolve(event)
            state.forget_timeline(event.id)
            for flow_id, span in spans.items():
                state.leave(flow_id, span, sent.time)
        case FlowDue() as event:
            if not outdated(state, event, sent.decidedon):
                _account(state, event.flow_id, event.occurrence)
        case FlowMissed() as event:
            # what a scheduler decided on times after a change that it had not seen does not count
            changed_at = state.versions.changed_at(event.flow_id, event.schedule_id, _position(sent.decidedon))
            _account(state, event.flow_id, event.last if changed_at is None else min(event.last, changed_at))
        case event if isinstance(event, Defined):
            state.catalogue.evolve(event)
        case _:
            pass
    return state


def evolve_deadlines(state: State, entry: Stored) -> State:
    """Take in what sets a deadline, or meets it."""
    deadlines.evolve(state.deadlines, entry.envelope, state.catalogue)
    return state


def outdated(state: State, event: FlowDue, decidedon: str | None) -> bool:
    """Tell whether a flow was not due after all, as its definition had changed before the scheduler's decision."""
    return state.versions.outdated(
        state.catalogue.flows.get(event.flow_id),
        state.catalogue.schedules,
        flow_id=event.flow_id,
        schedule_id=event.schedule_id,
        occurrence=event.occurrence,
        decidedon=_position(decidedon),
    )


def _position(decidedon: str | None) -> int:
    """Return the position that a decision was taken on; decisions of older code have none, and count."""
    return sys.maxsize if decidedon is None else int(decidedon)


def _account(state: State, flow_id: str, occurrence: datetime) -> None:
    known = state.accounted.get(flow_id)
    if known is None or occurrence > known:
        state.accounted[flow_id] = occurrence
        state.plan(flow_id)


def decide(state: State, now: datetime) -> list[Sequence[TimeEvent]]:
    """Return what is to be emitted now, together for each flow: what is missed and due, and which deadlines passed."""
    due: list[Sequence[TimeEvent]] = [
        events for flow_id in state.due_flows(now) if (events := _outcomes(state, flow_id, now))
    ]
    overdue: dict[str, list[TimeEvent]] = {}
    for event in state.deadlines.passed(now):
        overdue.setdefault(event.flow_id, []).append(event)
    return [*due, *overdue.values()]


class _Occurrence(Value, frozen=True, kw_only=True):
    """An occurrence without an outcome on the log, and how late it is."""

    at: datetime
    late: timedelta
    schedule: Schedule


def _outcomes(state: State, flow_id: str, now: datetime) -> Sequence[FlowDue | FlowMissed]:
    """Return the outcomes of a flow's occurrences that have none on the log."""
    found: dict[datetime, _Occurrence] = {}
    for span in state.spans(flow_id):
        jitter = calendar.jitter(span.schedule, flow_id)
        for at in _until(state, flow_id, span, now - jitter):
            found.setdefault(at, _Occurrence(at=at, late=now - at - jitter, schedule=span.schedule))
    missed, due = _catch_up([found[at] for at in sorted(found)])
    events: list[FlowDue | FlowMissed] = []
    if missed:
        events.append(
            FlowMissed(
                flow_id=flow_id,
                schedule_id=missed[-1].schedule.id,
                first=missed[0].at,
                last=missed[-1].at,
                count=len(missed),
            )
        )
    return events + [FlowDue(flow_id=flow_id, occurrence=one.at, schedule_id=one.schedule.id) for one in due]


def _until(state: State, flow_id: str, span: Span, until: datetime) -> Iterator[datetime]:
    last = until if span.until is None else min(until, span.until)
    return calendar.occurrences(span.schedule, state.since(flow_id, span), last)


def _catch_up(occurrences: list[_Occurrence]) -> tuple[list[_Occurrence], list[_Occurrence]]:
    """Split occurrences, in order, into those that are missed and those that are due (docs/time.md).

    An occurrence that is on time is due. Of the late ones within the window `catch_up` runs none, the last, or all up
    to a limit; the last only when nothing on time follows it.
    """
    on_time = [one for one in occurrences if one.late <= ON_TIME]
    late = occurrences[: len(occurrences) - len(on_time)]
    if not late:
        return [], on_time
    schedule = late[-1].schedule
    window = timedelta(seconds=schedule.catch_up_window_seconds)
    kept = [one for one in late if one.late <= window]
    match schedule.catch_up:
        case "none":
            kept = []
        case "last":
            kept = kept[-1:] if not on_time else []
        case "all":
            kept = kept[-CATCH_UP_LIMIT:]
    return late[: len(late) - len(kept)], kept + on_time
