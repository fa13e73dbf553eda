"""A flow's occurrences: what became of them, what will, and which of them a backfill is to execute."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import Select, exists, select

from api.readmodel import calendar, past
from api.readmodel.reader import Reader, TooMuch, consistent
from api.responses.calendar import OccurrenceList
from schemas import tables as t
from schemas.definitions import Schedule
from services.scheduler import calendar as times

MOST = 2_000  # occurrences in one response
AHEAD = 1_000  # of them, those to come
SEARCHED = 20_000  # occurrences that a backfill looks through
_INSTANT = timedelta(microseconds=1)


def flows() -> Select[*tuple[Any, ...]]:
    """Select flows with what `calendar.upcoming` needs."""
    f = t.protection_flows
    return select(f.c.id, f.c.name, f.c.enabled, f.c.armed_at, f.c.schedule_id)


@consistent
async def outcomes(
    reader: Reader, flow_id: str, since: datetime, until: datetime, now: datetime
) -> OccurrenceList | None:
    """Return a flow's first occurrences in a range: those that passed with their outcome, and those to come.

    None when there is no such flow.
    """
    flow = await reader.row(flows().where(t.protection_flows.c.id == flow_id))
    if flow is None:
        return None
    read = await past.outcomes(reader, flow_id, since, until, most=MOST)
    found, complete = {one.occurrence: one for one in read.found.values()}, read.complete
    if complete:
        schedule = (await calendar.schedules(reader, [flow["schedule_id"]])).get(flow["schedule_id"] or "")
        frozen, budget = await calendar.freeze(reader), times.Budget(calendar.LOOKS)
        ahead = 0
        for one in calendar.coming(flow, schedule, max(now, since), frozen, budget):
            over = calendar.turn(one, flow, schedule) > until
            if over or ahead > AHEAD:
                complete = over
                break
            if one.occurrence not in found and one.occurrence >= since:
                found[one.occurrence] = one
                ahead += 1
    in_order = [found[at] for at in sorted(found)]
    return OccurrenceList(occurrences=in_order[:MOST], complete=complete and len(in_order) <= MOST)


@consistent
async def to_fill(reader: Reader, flow_id: str, since: datetime, until: datetime, mode: str) -> list[datetime] | None:
    """Return the past occurrences of a flow's schedule that a backfill is to execute; None without a schedule.

    `missing`: those without an execution. `failed`: those whose last execution failed or was cancelled. `all`: all.
    Raises `TooMuch`.
    """
    flow = await reader.row(flows().where(t.protection_flows.c.id == flow_id))
    schedule = None
    if flow is not None and flow["schedule_id"] is not None:
        schedule = (await calendar.schedules(reader, [flow["schedule_id"]])).get(flow["schedule_id"])
    if schedule is None:
        return None
    occurrences = _in_range(schedule, since, until)
    e, later = t.executions, t.executions.alias("later")
    same = (later.c.flow_id == flow_id) & (later.c.occurrence == e.c.occurrence)
    executed = select(e.c.occurrence, e.c.status).where(
        e.c.flow_id == flow_id,
        e.c.occurrence >= since,
        e.c.occurrence < until,
        e.c.started_at.is_not(None),
        ~exists().where(same & (later.c.started_at > e.c.started_at)),
    )
    status = {row.occurrence: row.status for row in await reader.rows(executed)}
    wanted = {
        "missing": lambda at: at not in status,
        "failed": lambda at: status.get(at) in {"error", "cancelled"},
        "all": lambda _: True,
    }[mode]
    return [at for at in occurrences if wanted(at)]


def _in_range(schedule: Schedule, since: datetime, until: datetime) -> list[datetime]:
    """Return the occurrences of a schedule from `since` up to `until`. Raises `TooMuch`."""
    found = times.of(schedule)
    just_before, end = since - _INSTANT, until - _INSTANT
    number = found.tally(just_before, end, 1).count
    if number > SEARCHED:
        raise TooMuch(f"a range with {number:,} occurrences", f"{SEARCHED:,}; shorten the range")
    return list(islice(found.occurrences(just_before, end), number))
