"""The matrix of VMs and days: what became of the backups that began on each day, in one place of the earth.

One statement reads it, a row for each VM: the database folds the backups of a day into one letter, and the days of a VM
into one text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Text, case, cast, func, literal, select

from api.readmodel import coverage
from api.readmodel.coverage import CoverageFilter, Judged
from api.readmodel.reader import Page, Reader, consistent
from api.responses.coverage import CoverageDays, NamedGroup, VmDays
from schemas import tables as t

DAY = 86_400  # seconds
LEGEND = {
    "s": "good",
    "m": "good, and failed or cancelled too",
    "f": "failed or cancelled",
    "r": "has not ended",
    "k": "skipped",
    ".": "nothing",
    " ": "before the VM was there",
}
_LETTERS = {1: "s", 2: "f", 3: "m"}  # by what a day has: 1 good, 2 failed


def days_before(now: datetime, number: int, zone: ZoneInfo) -> list[date]:
    """Return the last days in a zone, the current one as the last."""
    today = now.astimezone(zone).date()
    return [today - timedelta(days=back) for back in range(number - 1, -1, -1)]


def beginnings(days: Iterable[date], zone: ZoneInfo) -> list[datetime]:
    """Return when days begin in a zone: at midnight, or where the clocks jump over it, then."""
    return [datetime.combine(day, time(), zone) for day in days]


@consistent
async def find(
    reader: Reader,
    wanted: CoverageFilter,
    days: Sequence[date],
    zone: ZoneInfo,
    by: str | None,
    page: Page,
    now: datetime,
) -> CoverageDays:
    """Return a page of VMs by name, with what each day was like. `by`: the key of a label. Raises `TooMuch`."""
    judged = await coverage.judge(reader, wanted, now)
    matching = coverage.in_order([one for one in judged if wanted.state in {None, one.state}], "vm_name")
    shown = matching[page.offset : page.offset + page.limit]
    ids = [one.context_id for one in shown]
    found = await _letters(reader, ids, days, zone)
    named, of_vms = await _groups(reader, ids)
    labels = await _labels(reader, ids, by)
    return CoverageDays(
        days=[day.isoformat() for day in days],
        groups=named,
        vms=[
            VmDays(
                context_id=one.context_id,
                vm_name=one.vm_name,
                state=one.state,
                groups=of_vms.get(one.context_id, []),
                label=labels.get(one.context_id),
                cells=cells(found.get(one.context_id, ""), days, _born(one, zone)),
            )
            for one in shown
        ],
        total=len(matching),
        counts=coverage.counts(judged),
        legend=LEGEND,
        timezone=str(zone.key),
        at=now,
    )


def cells(found: str, days: Sequence[date], born: date) -> str:
    """Return a letter for each day. `found`: three digits and a letter for each that has any, in any order."""
    letters = [" " if day < born else "." for day in days]
    for place in range(0, len(found), 4):
        letters[int(found[place : place + 3])] = found[place + 3]
    return "".join(letters)


def _born(one: Judged, zone: ZoneInfo) -> date:
    return one.created_at.astimezone(zone).date()


async def _letters(reader: Reader, ids: Sequence[str], days: Sequence[date], zone: ZoneInfo) -> dict[str, str]:
    """Return, for each VM with backups, three digits for the place of a day, and its letter, one after the other."""
    j = t.backup_jobs
    first, end = beginnings((days[0], days[-1] + timedelta(days=1)), zone)
    on = place(reader, j.c.created_at, days, zone).label("place")
    any_ = {name: func.max(case((condition, 1), else_=0)) for name, condition in _conditions(j.c.status)}
    letter = case(
        ((any_["good"] == 1) & (any_["failed"] == 1), "m"),
        (any_["good"] == 1, "s"),
        (any_["open"] == 1, "r"),
        (any_["failed"] == 1, "f"),
        else_="k",
    ).label("letter")
    by_day = (
        select(j.c.context_id, on, letter)
        .where(j.c.created_at >= first, j.c.created_at < end, j.c.context_id.in_(ids))
        .group_by(j.c.context_id, on)
        .subquery()
    )
    code = func.substr(cast(by_day.c.place + 1000, Text), 2, 3).concat(by_day.c.letter)
    statement = select(by_day.c.context_id, reader.joined(code).label("found")).group_by(by_day.c.context_id)
    return {row.context_id: row.found for row in await reader.rows(statement)}


def _conditions(status: ColumnElement[str]) -> Iterator[tuple[str, ColumnElement[bool]]]:
    yield "good", status == "success"
    yield "failed", status.in_(("error", "cancelled"))
    yield "open", status.in_(("pending", "queued", "running"))


def place(reader: Reader, at: ColumnElement[Any], days: Sequence[date], zone: ZoneInfo) -> ColumnElement[Any]:
    """Return which of some days an instant falls on: seconds since the first began, less what the clocks were put."""
    begins = beginnings(days, zone)
    offsets = [begin.utcoffset() or timedelta() for begin in begins]
    seconds = reader.seconds_since(at, begins[0])
    changes = [
        (begins[number + 1], int((offsets[number + 1] - offsets[0]).total_seconds()))
        for number in range(len(days) - 1)
        if offsets[number + 1] != offsets[number]
    ]
    shift: ColumnElement[Any] = literal(0)
    if changes:
        shift = case(*((at >= begin, seconds_) for begin, seconds_ in reversed(changes)), else_=0)
    return (seconds + shift) // DAY


async def _groups(reader: Reader, ids: Sequence[str]) -> tuple[list[NamedGroup], dict[str, list[int]]]:
    """Return the groups that some VMs are in, by name, and for each VM the places of its groups in that list."""
    m, g = t.machine_group_members, t.machine_groups
    joined = select(m.c.context_id, g.c.id, g.c.name).join(g, g.c.id == m.c.group_id).where(m.c.context_id.in_(ids))
    rows = await reader.mappings(joined.order_by(g.c.name, g.c.id))
    places: dict[str, int] = {}
    of_vms: dict[str, list[int]] = {}
    for row in rows:
        of_vms.setdefault(row["context_id"], []).append(places.setdefault(row["id"], len(places)))
    names: Mapping[str, str] = {row["id"]: row["name"] for row in rows}
    return [NamedGroup(group_id=id_, group_name=names[id_]) for id_ in places], of_vms


async def _labels(reader: Reader, ids: Sequence[str], by: str | None) -> dict[str, str]:
    """Return the value that each of some VMs has of a label, of those that have it."""
    if by is None:
        return {}
    value = t.vms.c.labels[by].as_string().label("value")
    rows = await reader.rows(select(t.vms.c.id, value).where(t.vms.c.id.in_(ids)))
    return {row.id: row.value for row in rows if row.value is not None}
