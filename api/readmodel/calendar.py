"""When flows run, by the scheduler's own calendar."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from heapq import heapify, heappop, heapreplace
from typing import Any

from sqlalchemy import ColumnElement, func, select

from api.readmodel.reader import Reader, TooMuch, consistent, shaped, size_of
from api.responses.calendar import CalendarEntry, CalendarResponse, FreezeResponse
from schemas import tables as t
from schemas.definitions import Schedule
from schemas.ids import ENGINE
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
    """Return what will run from `since` (or now, if that is later) to `until`, over all flows. Raises `TooMuch`."""
    frozen = await freeze(reader)
    flows = await _scheduled(reader)
    known = await schedules(reader, (flow["schedule_id"] for flow in flows))
    runs, complete = _first_runs(flows, known, frozen, max(since, now), until)
    durations = await _durations(reader, {flow["id"] for _, _, flow in runs})
    entries = [
        CalendarEntry(
            flow_id=flow["id"],
            flow_name=flow["name"],
            schedule_id=flow["schedule_id"],
            occurrence=at,
            fires_at=fires_at,
            expected_seconds=durations.get(flow["id"]),
        )
        for fires_at, at, flow in runs
    ]
    return CalendarResponse(entries=entries, complete=complete, freeze=_open(frozen, now))


async def _scheduled(reader: Reader) -> list[dict[str, Any]]:
    f, s = t.protection_flows, t.schedules
    statement = select(f.c.id, f.c.name, f.c.enabled, f.c.armed_at, f.c.schedule_id).join(s, s.c.id == f.c.schedule_id)
    flows = await reader.mappings(statement.where(f.c.enabled, s.c.enabled).limit(MOST_FLOWS + 1))
    if len(flows) > MOST_FLOWS:
        raise TooMuch("the runs of all flows", f"{MOST_FLOWS:,} scheduled flows; ask for the occurrences of one")
    return flows


Run = tuple[datetime, datetime, Mapping[str, Any]]  # when it fires, its occurrence, its flow


def _first_runs(
    flows: Sequence[Mapping[str, Any]],
    known: Mapping[str, Schedule],
    frozen: Freeze | None,
    since: datetime,
    until: datetime,
) -> tuple[list[Run], bool]:
    """Return the first runs in a range, in order, and whether these are all."""
    budget = calendar.Budget(LOOKS)
    shared = {id_: _Shared(schedule, frozen, since, until, budget) for id_, schedule in known.items()}
    queue: list[tuple[datetime, int, datetime]] = []
    for number, flow in enumerate(flows):
        if (run := shared[flow["schedule_id"]].next(flow, None)) is not None:
            queue.append((run[0], number, run[1]))
    heapify(queue)
    runs: list[Run] = []
    while queue and len(runs) < MOST:
        fires_at, number, at = queue[0]
        flow = flows[number]
        runs.append((fires_at, at, flow))
        following = shared[flow["schedule_id"]].next(flow, at)
        if following is None:
            heappop(queue)
        else:
            heapreplace(queue, (following[0], number, following[1]))
    return runs, not queue and budget.left > 0


class _Shared:
    """The occurrences of a schedule in a range, found once for all of its flows, and only as far as needed."""

    def __init__(
        self, schedule: Schedule, frozen: Freeze | None, since: datetime, until: datetime, budget: calendar.Budget
    ) -> None:
        self._schedule, self._frozen, self._since, self._until = schedule, frozen, since, until
        self._budget = budget
        self._found: list[datetime] = []
        self._rest = self._thawed(since - timedelta(seconds=schedule.jitter_seconds))

    def _thawed(self, after: datetime | None) -> Iterator[datetime]:
        while after is not None:
            begin, after = after, None
            for at in calendar.of(self._schedule).occurrences(begin, self._until, self._budget):
                if self._frozen is not None and (end := self._frozen.end_for(at, timedelta())) is not None:
                    after = end - _INSTANT
                    break
                yield at

    def next(self, flow: Mapping[str, Any], after: datetime | None) -> tuple[datetime, datetime] | None:
        """Return when a flow fires next, and for which occurrence, after an occurrence or as the first."""
        jitter = calendar.jitter(self._schedule, flow["id"])
        if after is None:
            after = max(self._since - jitter, flow["armed_at"], self._schedule.armed_at)
        at = self._following(after)
        if at is not None and self._frozen is not None and (end := self._frozen.end_for(at, jitter)) is not None:
            at = self._following(end - _INSTANT)  # it would begin in the freeze, late as it begins
        return None if at is None or at + jitter > self._until else (at + jitter, at)

    def _following(self, after: datetime) -> datetime | None:
        while not self._found or self._found[-1] <= after:
            at = next(self._rest, None)
            if at is None:
                return None
            self._found.append(at)
        return self._found[bisect_right(self._found, after)]


def _open(frozen: Freeze | None, now: datetime) -> FreezeResponse | None:
    return frozen if frozen is not None and frozen.until > now else None


async def _durations(reader: Reader, flow_ids: Iterable[str]) -> dict[str, float]:
    """Return how long each flow's executions took on average, in seconds."""
    e = t.executions
    seconds: ColumnElement[Any] = reader.seconds_between(e.c.started_at, e.c.completed_at)
    statement = (
        select(e.c.flow_id, func.avg(seconds).label("seconds"))
        .where(e.c.status.in_(("success", "warning")), e.c.flow_id.in_(sorted(flow_ids)))
        .group_by(e.c.flow_id)
    )
    return {row["flow_id"]: round(float(row["seconds"]), 3) for row in await reader.mappings(statement)}
