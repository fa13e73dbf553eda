"""The overview: everything that is looked at in the morning, of one moment."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from api.readmodel import attention, calendar, coverage
from api.readmodel.attention import Backlog, Execution, ExpiringToken, Facts, SkippedFlow
from api.readmodel.overdue import Overdue
from api.readmodel.reader import Reader, consistent
from api.responses.overview import BackupCounts, Night, Overview, UpcomingRun
from schemas import tables as t
from schemas.base import Value

MOST = 50  # things that need attention
NEXT = 20  # runs
AHEAD = timedelta(hours=24)
EVENING, MORNING = time(18), time(8)  # in the reader's zone
WHATEVER = coverage.CoverageFilter()


class Beside(Value, frozen=True, kw_only=True):
    """What is not in the tables, or not for everybody."""

    filling: Sequence[attention.FillingRepository] = ()
    unreachable: Sequence[attention.UnreachableRepository] = ()
    tokens: bool = False
    ill: dict[str, str] = {}


@consistent
async def find(reader: Reader, zone: ZoneInfo, now: datetime, overdue: Overdue, beside: Beside) -> Overview:
    """Return the overview. Raises `TooMuch`."""
    judged = await coverage.judge(reader, WHATEVER, now)
    ahead = await calendar.over_all(reader, now, now + AHEAD, now)
    expected = [one for one in ahead.entries if one.fires_at is not None and one.fires_at >= now]
    facts = Facts(
        vms=judged,
        executions=await _executions(reader, attention.executions_of(judged)),
        late=await overdue.find(reader, now),
        skipped=await _skipped(reader, now),
        filling=beside.filling,
        unreachable=beside.unreachable,
        tokens=await _tokens(reader, now) if beside.tokens else (),
        backlog=Backlog(),
        freeze=ahead.freeze,
        letters=await _letters(reader),
        ill=beside.ill,
    )
    found, counts = attention.ranked(facts), coverage.counts(judged)
    return Overview(
        at=now,
        timezone=zone.key,
        verdict=attention.verdict(counts, found),
        vms=counts,
        attention=found[:MOST],
        attention_total=len(found),
        last_night=await _night(reader, *night(now, zone)),
        running=await _running(reader),
        next=[
            UpcomingRun(flow_id=one.flow_id, flow_name=one.flow_name, at=one.fires_at)
            for one in sorted(expected, key=lambda one: (one.fires_at or now, one.flow_name))[:NEXT]
            if one.fires_at is not None
        ],
        next_total=len(expected),
        next_complete=ahead.complete,
        freeze=ahead.freeze,
    )


def night(now: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return from when until when the night before this day's morning is, in a zone, as far as it is over."""
    today = now.astimezone(zone).date()
    begin = datetime.combine(today - timedelta(days=1), EVENING, zone)
    end = datetime.combine(today, MORNING, zone)
    return begin.astimezone(now.tzinfo), min(end.astimezone(now.tzinfo), now)


async def _night(reader: Reader, since: datetime, until: datetime) -> Night:
    e, j = t.executions, t.backup_jobs
    began = (e.c.created_at >= since, e.c.created_at < until)
    executions = select(e.c.status, func.count().label("number")).where(*began).group_by(e.c.status)
    size = func.coalesce(func.sum(j.c.bytes_transferred), 0).label("size")
    backups = select(j.c.status, func.count().label("number"), size).join(e, e.c.id == j.c.execution_id).where(*began)
    numbers: dict[str, int] = {}
    total = 0
    for row in await reader.rows(backups.group_by(j.c.status)):
        numbers[row.status] = row.number
        total += int(row.size)
    return Night(
        from_=since,
        to=until,
        executions={row.status: row.number for row in await reader.rows(executions)},
        backups=BackupCounts(
            completed=numbers.get("success", 0),
            failed=numbers.get("error", 0),
            skipped=numbers.get("skipped", 0) + numbers.get("cancelled", 0),
            running=sum(numbers.get(status, 0) for status in ("pending", "queued", "running")),
        ),
        bytes=total,
    )


async def _running(reader: Reader) -> int:
    e = t.executions
    return int((await reader.rows(select(func.count()).select_from(e).where(e.c.status == "running")))[0][0])


async def _executions(reader: Reader, ids: Collection[str]) -> dict[str, Execution]:
    e = t.executions
    found = select(e.c.id, e.c.flow_id, e.c.flow_name).where(e.c.id.in_(sorted(ids)))
    return {
        row.id: Execution(id=row.id, flow_id=row.flow_id, flow_name=row.flow_name)
        for row in (await reader.rows(found) if ids else ())
    }


async def _skipped(reader: Reader, now: datetime) -> list[SkippedFlow]:
    """Return the flows whose last occurrences were skipped."""
    del reader, now
    return []


async def _tokens(reader: Reader, now: datetime) -> list[ExpiringToken]:
    """Return the tokens that expire soon."""
    c = t.tokens.c
    soon = select(c.id, c.name, c.expires_at).where(
        c.revoked_at.is_(None), c.expires_at > now, c.expires_at <= now + attention.SOON
    )
    rows = await reader.rows(soon.order_by(c.expires_at).limit(MOST))
    return [ExpiringToken(token_id=row.id, name=row.name, expires_at=row.expires_at) for row in rows]


async def _letters(reader: Reader) -> int:
    """Return how many messages could not be used, of those that nobody has settled."""
    ev = t.events
    place = reader.text_in(ev.c.body, "data", "sequence")
    dead, settled = select(place).where(ev.c.type == "dead"), select(place).where(ev.c.type == "dead.settled")
    letters = {str(row[0]) for row in await reader.rows(dead)}
    return len(letters - {str(row[0]) for row in await reader.rows(settled)}) if letters else 0
