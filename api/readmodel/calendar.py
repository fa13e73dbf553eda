"""When flows run, by the scheduler's own calendar."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from heapq import heapify, heappop, heapreplace
from typing import Any

from msgspec import structs
from sqlalchemy import ColumnElement, func, select

from api.readmodel import past
from api.readmodel.reader import Reader, TooMuch, consistent, shaped, size_of
from api.responses.calendar import CalendarEntry, CalendarResponse, FreezeResponse, OccurrenceOutcome
from schemas import tables as t
from schemas.definitions import Schedule
from schemas.ids import ENGINE, instant
from services.scheduler import calendar

MOST = 5_000  # entries in one response
MOST_FLOWS = 10_000  # flows that one response is about
LOOKS = 40_000  # at days of calendars, for one response
_INSTANT = timedelta(microseconds=1)


class Freeze(FreezeResponse, frozen=True, kw_only=True):
    """A freeze that is in force or has ended."""

    def end_for(self, at: datetime, jitter: timedelta) -> datetime | None:
        """Return up to when occurrences do not fire, when one at `at` falls into the freeze; else None."""
        if self.since <= at < self.until:
            return self.until
        return self.until - jitter if self.since <= at + jitter < self.until else None


def why_not(flow: Mapping[str, Any], schedule: Schedule | None) -> str | None:
    """Return why nothing runs a flow by itself, None when something does."""
    if not flow["enabled"]:
        return "the flow is disabled"
    if schedule is None:
        return "the flow has no schedule"
    if not schedule.enabled:
        return f"schedule {schedule.name!r} is disabled"
    return None


def upcoming(
    flow: Mapping[str, Any], schedule: Schedule | None, now: datetime, freeze: Freeze | None, budget: calendar.Budget
) -> Iterator[tuple[datetime, datetime]]:
    """Yield the occurrences of a flow that fire after `now`, each with the instant at which it does.

    `flow`: its row, with `id`, `enabled` and `armed_at`. It ends when the budget is spent.
    """
    if schedule is None or why_not(flow, schedule):
        return
    jitter = calendar.jitter(schedule, flow["id"])
    after: datetime | None = max(now - jitter, flow["armed_at"], schedule.armed_at)
    while after is not None:
        begin, after = after, None
        for at in calendar.of(schedule).occurrences(begin, budget=budget):
            if freeze is not None and (end := freeze.end_for(at, jitter)) is not None:
                after = end - _INSTANT
                break
            yield at, at + jitter


def coming(
    flow: Mapping[str, Any], schedule: Schedule | None, now: datetime, freeze: Freeze | None, budget: calendar.Budget
) -> Iterator[OccurrenceOutcome]:
    """Yield the occurrences of a flow after `now`: what fires, and what does not as it is frozen or excluded.

    `flow`: as for `upcoming`. It ends when the budget is spent.
    """
    if schedule is None or why_not(flow, schedule):
        return
    jitter = calendar.jitter(schedule, flow["id"])
    after = max(now - jitter, flow["armed_at"], schedule.armed_at)
    for one in calendar.of(schedule).annotated(after, budget=budget):
        yield _outcome(one, jitter, freeze)


def turn(one: OccurrenceOutcome, flow: Mapping[str, Any], schedule: Schedule | None) -> datetime:
    """Return when a flow's turn is for an occurrence, whether it begins then or not."""
    jitter = timedelta() if schedule is None else calendar.jitter(schedule, flow["id"])
    return one.occurrence + jitter


def _outcome(one: calendar.Occurrence, jitter: timedelta, freeze: Freeze | None) -> OccurrenceOutcome:
    """Return what will become of an occurrence to come."""
    if not one.fires:
        return OccurrenceOutcome(occurrence=one.at, outcome="excluded", reason=one.note)
    if freeze is not None and freeze.end_for(one.at, jitter) is not None:
        reason = f"no scheduled start until {instant(freeze.until)}: {freeze.reason}"
        return OccurrenceOutcome(occurrence=one.at, outcome="frozen", reason=reason)
    return OccurrenceOutcome(occurrence=one.at, outcome="expected", fires_at=one.at + jitter)


async def freeze(reader: Reader) -> Freeze | None:
    """Return the freeze, None when there is none or it was lifted."""
    row = await reader.row(select(t.freezes).where(t.freezes.c.id == ENGINE))
    return None if row is None else shaped(Freeze, row)


async def schedules(reader: Reader, ids: Iterable[str | None]) -> dict[str, Schedule]:
    """Return schedules by id, each once, however many flows are on it. Raises `TooMuch`."""
    wanted = sorted({id_ for id_ in ids if id_ is not None})
    if not wanted:
        return {}
    s = t.schedules
    size = size_of(s.c.exclusions, s.c.inclusions, s.c.more_expressions)
    await reader.check(select(func.sum(size)).where(s.c.id.in_(wanted)), f"what depends on {len(wanted)} schedules")
    rows = await reader.mappings(select(s).where(s.c.id.in_(wanted)))
    return {row["id"]: shaped(Schedule, row) for row in rows}


@consistent
async def over_all(reader: Reader, since: datetime, until: datetime, now: datetime) -> CalendarResponse:
    """Return what became of occurrences from `since` on, and what will run up to `until`, over all flows.

    Raises `TooMuch`.
    """
    frozen = await freeze(reader)
    read = past.NOTHING
    if since < now:
        read = await past.outcomes(reader, None, since, min(until, now), most=MOST)
    entries = [(flow_id, one) for (_, flow_id), one in sorted(read.found.items())]
    complete = read.complete
    if complete and until > now:
        flows = await _scheduled(reader)
        known = await schedules(reader, (flow["schedule_id"] for flow in flows))
        ahead, complete = _first(flows, known, frozen, max(since, now), until)
        # one that is due has its message already, and its turn may be to come
        entries += [(flow_id, one) for flow_id, one in ahead if (one.occurrence, flow_id) not in read.found]
    complete = complete and len(entries) <= MOST
    named = await _named(reader, {flow_id for flow_id, _ in entries[:MOST]})
    durations = await expected_seconds(reader, named)
    shown = [
        CalendarEntry(
            **structs.asdict(one),
            flow_id=flow_id,
            flow_name=named[flow_id]["name"],
            schedule_id=named[flow_id]["schedule_id"],
            expected_seconds=durations.get(flow_id),
        )
        for flow_id, one in entries[:MOST]
        if flow_id in named  # else it has been deleted, and only messages are left
    ]
    return CalendarResponse(entries=shown, complete=complete, freeze=in_force(frozen, now))


async def _scheduled(reader: Reader) -> list[dict[str, Any]]:
    f, s = t.protection_flows, t.schedules
    statement = select(f.c.id, f.c.name, f.c.enabled, f.c.armed_at, f.c.schedule_id).join(s, s.c.id == f.c.schedule_id)
    flows = await reader.mappings(statement.where(f.c.enabled, s.c.enabled).limit(MOST_FLOWS + 1))
    if len(flows) > MOST_FLOWS:
        raise TooMuch("the runs of all flows", f"{MOST_FLOWS:,} scheduled flows; ask for the occurrences of one")
    return flows


async def _named(reader: Reader, flow_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the names and schedules of those of some flows that are there."""
    f = t.protection_flows
    statement = select(f.c.id, f.c.name, f.c.schedule_id).where(f.c.id.in_(sorted(flow_ids)))
    return {row["id"]: row for row in await reader.mappings(statement)}


def _first(
    flows: Sequence[Mapping[str, Any]],
    known: Mapping[str, Schedule],
    frozen: Freeze | None,
    since: datetime,
    until: datetime,
) -> tuple[list[tuple[str, OccurrenceOutcome]], bool]:
    """Return the first occurrences to come in a range, by their flows' turns, and whether these are all."""
    budget = calendar.Budget(LOOKS)
    shared = {id_: _Shared(schedule, since, until, budget) for id_, schedule in known.items()}
    queue: list[tuple[datetime, datetime, int]] = []  # turn, occurrence, flow
    for number, flow in enumerate(flows):
        if (one := shared[flow["schedule_id"]].next(flow, None)) is not None:
            queue.append((*one, number))
    heapify(queue)
    found: list[tuple[str, OccurrenceOutcome]] = []
    while queue and len(found) < MOST:
        turn_, at, number = queue[0]
        flow = flows[number]
        schedule = shared[flow["schedule_id"]]
        found.append((flow["id"], _outcome(schedule.at(at), turn_ - at, frozen)))
        following = schedule.next(flow, at)
        if following is None:
            heappop(queue)
        else:
            heapreplace(queue, (*following, number))
    return found, not queue and budget.left > 0


class _Shared:
    """The occurrences of a schedule in a range, found once for all of its flows, and only as far as needed."""

    def __init__(self, schedule: Schedule, since: datetime, until: datetime, budget: calendar.Budget) -> None:
        self._schedule, self._since, self._until = schedule, since, until
        self._found: list[calendar.Occurrence] = []
        first = since - timedelta(seconds=schedule.jitter_seconds)
        self._rest = calendar.of(schedule).annotated(first, until, budget)

    def next(self, flow: Mapping[str, Any], after: datetime | None) -> tuple[datetime, datetime] | None:
        """Return a flow's next turn, and its occurrence, after an occurrence or as the first; None: none in range."""
        jitter = calendar.jitter(self._schedule, flow["id"])
        if after is None:
            after = max(self._since - jitter, flow["armed_at"], self._schedule.armed_at)
        while not self._found or self._found[-1].at <= after:
            one = next(self._rest, None)
            if one is None:
                return None
            self._found.append(one)
        at = self._found[self._place(after)].at
        return None if at + jitter > self._until else (at + jitter, at)

    def at(self, at: datetime) -> calendar.Occurrence:
        """Return an occurrence that was found."""
        return self._found[self._place(at) - 1]

    def _place(self, at: datetime) -> int:
        return bisect_right(self._found, at, key=lambda one: one.at)


def in_force(frozen: Freeze | None, now: datetime) -> FreezeResponse | None:
    """Return a freeze unless it is over."""
    return frozen if frozen is not None and frozen.until > now else None


async def expected_seconds(reader: Reader, flow_ids: Iterable[str]) -> dict[str, float]:
    """Return how long each flow's executions took on average, in seconds."""
    e = t.executions
    seconds: ColumnElement[Any] = reader.seconds_between(e.c.started_at, e.c.completed_at)
    statement = (
        select(e.c.flow_id, func.avg(seconds).label("seconds"))
        .where(e.c.status.in_(("success", "warning")), e.c.flow_id.in_(sorted(flow_ids)))
        .group_by(e.c.flow_id)
    )
    return {row["flow_id"]: round(float(row["seconds"]), 3) for row in await reader.mappings(statement)}
