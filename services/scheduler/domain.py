"""The scheduler's decisions: which occurrences are due, which deadlines have passed. Pure; `now` is an argument.

For each flow the log has the last occurrence with an outcome. What its schedule matches between that and `now` is due:
it becomes `flow.due` or, when it is too late, `flow.missed`, one outcome for each occurrence. What was due when a flow
or its schedule was changed stays due by the calendar of before: so an edit in the second of an occurrence neither loses
nor doubles it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial

from bus.envelope import Stored
from schemas.base import Value
from schemas.definitions import Schedule
from schemas.events import Defined, FlowDefined, FlowDue, FlowMissed, FlowOverdue, ScheduleDefined
from schemas.ids import scheduled_execution_id
from services.catalogue import Catalogue
from services.scheduler import calendar, deadlines
from services.scheduler.backlog import Known, Stretch, outcomes
from services.scheduler.deadlines import Deadlines
from services.scheduler.versions import Versions, position
from services.unusable import SetAside, Unfoldable

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

TimeEvent = FlowDue | FlowMissed | FlowOverdue


class Span(Value, frozen=True, kw_only=True):
    """A stretch of time over which a flow is on a schedule: after `after`, up to `until` (None: for the time being)."""

    schedule: Schedule
    after: datetime
    until: datetime | None = None


class State:
    """What the scheduler knows. `evolve` changes it in place.

    `horizon`: nothing is due from before it, as the log may have forgotten the outcomes.
    """

    def __init__(self, horizon: datetime = BEGINNING) -> None:
        self.catalogue = Catalogue()
        self.versions = Versions()
        self.deadlines = Deadlines()
        self.horizon = horizon
        self.set_aside = SetAside()
        self.defined: dict[str, int] = {}  # by flow: where its definition is on the log
        self.accounted: dict[str, datetime] = {}  # by flow: the last occurrence with an outcome on the log
        self.skipped: dict[str, set[datetime]] = {}  # by flow: later ones with an outcome, due by replaced definitions
        self._left: dict[str, list[Span]] = {}  # by flow: spans that have ended, while occurrences of them are due
        self._due: list[tuple[datetime, str]] = []  # heap of (instant, flow); may hold outdated entries
        self._next: dict[str, datetime] = {}  # by flow: its entry in the heap that counts
        self._flows: dict[str, set[str]] = {}  # by schedule: the flows on it
        self._outdated: set[str] = set()  # flows whose next occurrence is to be computed again
        self._searched: dict[str, datetime] = {}  # by flow: up to when none of its occurrences comes

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
            if self._searched.get(entry[1]) == entry[0]:
                self._outdated.add(entry[1])  # nothing is due yet: the search goes on from here
            elif entry not in entries[-1:]:
                entries.append(entry)
                flows.append(entry[1])
        for entry in entries:  # they stay until the log has the outcome
            heapq.heappush(self._due, entry)
        return flows

    def plan(self, flow_id: str) -> None:
        """Have a flow's next occurrence computed again, once it is needed."""
        self._searched.pop(flow_id, None)
        self._outdated.add(flow_id)

    def _plan(self, flow_id: str) -> None:
        self._next.pop(flow_id, None)
        (at,) = self.set_aside.decide(
            [flow_id], self._first, sequence=self.defined_at, instead=lambda _flow_id, _reason: None
        )
        if at is not None:
            self._next[flow_id] = at
            heapq.heappush(self._due, (at, flow_id))

    def defined_at(self, flow_id: str) -> int:
        """Return where on the log a flow's definition is."""
        return self.defined.get(flow_id, 0)

    def _first(self, flow_id: str) -> datetime | None:
        """Return when a flow's first due occurrence fires: at the occurrence, later by the flow's jitter.

        When there is none for long: up to when none does.
        """
        left: list[Span] = []
        found: list[datetime] = []
        for span in self._left.get(flow_id, ()):
            after, until = self.since(flow_id, span), span.until
            at = self._next_open(flow_id, span, after).at if until is not None and after < until else None
            if at is not None and until is not None and at <= until:
                left.append(span)
                found.append(at + calendar.jitter(span.schedule, flow_id))
        if left:
            self._left[flow_id] = left
        else:
            self._left.pop(flow_id, None)
        span = self.current(flow_id)
        if span is not None:
            after = self.since(flow_id, span)
            following = self._next_open(flow_id, span, max(after, self._searched.pop(flow_id, after)))
            if following.at is not None:
                found.append(following.at + calendar.jitter(span.schedule, flow_id))
            elif following.searched is not None:
                self._searched[flow_id] = following.searched
                found.append(following.searched)
        return min(found, default=None)

    def _next_open(self, flow_id: str, span: Span, after: datetime) -> calendar.Next:
        """Return the first occurrence of a span after an instant that has no outcome."""
        times = calendar.of(span.schedule)
        found = times.next(after)
        while found.at is not None and self.has_outcome(flow_id, found.at):
            found = times.next(found.at)
        return found

    def has_outcome(self, flow_id: str, at: datetime) -> bool:
        """Tell whether an occurrence after the accounted ones has its outcome nevertheless.

        What was due by replaced definitions is skipped, and stays so, also when later definitions make it due again.
        """
        return at in self.skipped.get(flow_id, ()) or scheduled_execution_id(flow_id, at) in self.deadlines.processed

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
        return max(span.after, self.horizon, self.accounted.get(flow_id, self.horizon))

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


def evolve(state: State, entry: Stored) -> State:
    """Take in one message of the log: a definition, or the outcome of an occurrence."""
    sent = entry.envelope
    match sent.data:
        case FlowDefined() as event:
            before, span = state.catalogue.flows.get(event.id), state.current(event.id)
            state.catalogue.evolve(event)
            state.versions.evolve_flow(event, before, entry.sequence, sent.time)
            state.defined[event.id] = entry.sequence
            now = event.definition
            state.move(event.id, before.schedule_id if before else None, now.schedule_id if now else None)
            state.leave(event.id, span, sent.time)
        case ScheduleDefined() as event:
            spans = {flow_id: state.current(flow_id) for flow_id in state.flows_on(event.id)}
            before = state.catalogue.schedules.get(event.id)
            state.catalogue.evolve(event)
            state.versions.evolve_schedule(event, before, entry.sequence, sent.time)
            for flow_id, span in spans.items():
                state.leave(flow_id, span, sent.time)
            if event.definition is not None and (reason := calendar.unreadable(event.definition)):
                raise Unfoldable(f"schedule {event.definition.name!r} never fires: {reason}")
        case FlowDue() as event:
            if outdated(state, event, sent.decidedon):
                state.skipped.setdefault(event.flow_id, set()).add(event.occurrence)
                state.plan(event.flow_id)
            else:
                _account(state, event.flow_id, event.occurrence)
        case FlowMissed() as event:
            # what a scheduler decided on times after a change that it had not seen does not count
            changed_at = state.versions.changed_at(event.flow_id, event.schedule_id, position(sent.decidedon))
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
        decidedon=position(decidedon),
    )


def _account(state: State, flow_id: str, occurrence: datetime) -> None:
    known = state.accounted.get(flow_id)
    if known is None or occurrence > known:
        state.accounted[flow_id] = occurrence
        if later := {at for at in state.skipped.pop(flow_id, ()) if at > occurrence}:
            state.skipped[flow_id] = later
        state.plan(flow_id)


def decide(state: State, now: datetime) -> list[Sequence[TimeEvent]]:
    """Return what is to be emitted now, together for each flow: what is missed and due, and which deadlines passed."""
    of_flows = state.set_aside.decide(
        state.due_flows(now), lambda flow_id: _outcomes(state, flow_id, now), sequence=state.defined_at
    )
    due: list[Sequence[TimeEvent]] = [events for events in of_flows if events]
    overdue: dict[str, list[TimeEvent]] = {}
    for event in state.deadlines.passed(now):
        overdue.setdefault(event.flow_id, []).append(event)
    return [*due, *overdue.values()]


def _outcomes(state: State, flow_id: str, now: datetime) -> Sequence[FlowDue | FlowMissed]:
    """Return the outcomes of a flow's occurrences that have none on the log."""
    known = Known(skipped=state.skipped.get(flow_id, ()), has_outcome=partial(state.has_outcome, flow_id))
    return outcomes(flow_id, _stretches(state, flow_id, now), now, known)


def _stretches(state: State, flow_id: str, now: datetime) -> Iterator[Stretch]:
    """Yield the stretches of time in which a flow's occurrences may have no outcome, and have come at `now`."""
    for span in state.spans(flow_id):
        jitter = calendar.jitter(span.schedule, flow_id)
        after, until = state.since(flow_id, span), now - jitter
        until = until if span.until is None else min(until, span.until)
        if after < until:
            yield Stretch(schedule=span.schedule, after=after, until=until, jitter=jitter)
