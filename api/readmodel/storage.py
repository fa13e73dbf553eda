"""What backups take of a repository, day by day."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime
from itertools import accumulate
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import exists, func, select

from api.readmodel import days
from api.readmodel.reader import Reader, consistent, shaped
from api.responses.repositories import StorageDay
from schemas import tables as t
from schemas.base import Value
from schemas.definitions import Repository


@consistent
async def history(
    reader: Reader, repository_id: str, shown: Sequence[date], zone: ZoneInfo
) -> tuple[Repository, list[StorageDay], int] | None:
    """Return a repository, its days, and how many good backups it has by now; None when there is none.

    Backups stay until their repository's own tools let go of them: nothing is subtracted.
    """
    row = await reader.row(select(t.repositories).where(t.repositories.c.id == repository_id))
    if row is None:
        return None
    j = t.backup_jobs
    begin, _ = days.beginnings((shown[0], shown[-1]), zone)
    good = (j.c.repository_id == repository_id, j.c.status == "success")
    size = func.coalesce(func.sum(j.c.bytes_transferred), 0).label("size")
    number = func.count().label("number")
    (before,) = await reader.rows(select(size, number).where(*good, j.c.completed_at < begin))
    place = days.place(reader, j.c.completed_at, shown, zone).label("place")
    by_day = select(place, size, number).where(*good, j.c.completed_at >= begin).group_by(place)
    found: dict[int, Any] = {int(one.place): one for one in await reader.rows(by_day)}
    stored, count = int(before.size), int(before.number)
    history: list[StorageDay] = []
    for place_, day in enumerate(shown):
        one = found.get(place_)
        added, made = (int(one.size), int(one.number)) if one is not None else (0, 0)
        stored, count = stored + added, count + made
        history.append(StorageDay(day=day.isoformat(), backups=made, bytes=added, stored_bytes=stored))
    return shaped(Repository, row), history, count


class Trouble(Value, frozen=True, kw_only=True):
    """That the last backup into a repository failed: when, and why."""

    since: datetime
    error: str


async def on_disk(reader: Reader, engines: Collection[str], most: int) -> list[Repository]:
    """Return the first enabled repositories with engines of some kinds, by name."""
    r = t.repositories
    rows = select(r).where(r.c.enabled, r.c.type.in_(sorted(engines))).order_by(r.c.name, r.c.id).limit(most)
    return [shaped(Repository, row) for row in await reader.mappings(rows)]


async def growing(
    reader: Reader, repository_ids: Sequence[str], shown: Sequence[date], zone: ZoneInfo
) -> dict[str, list[float]]:
    """Return by how much each of some repositories had grown at the end of each day, from its first backup on."""
    j, r = t.backup_jobs, t.repositories
    begin, _ = days.beginnings((shown[0], shown[-1]), zone)
    good = (j.c.repository_id.in_(repository_ids), j.c.status == "success")
    place = days.place(reader, j.c.completed_at, shown, zone).label("place")
    by_day = select(j.c.repository_id, place, func.sum(j.c.bytes_transferred).label("size"))
    by_day = by_day.where(*good, j.c.completed_at >= begin).group_by(j.c.repository_id, place)
    earlier = exists().where(j.c.repository_id == r.c.id, j.c.status == "success", j.c.completed_at < begin)
    begun = {row.id for row in await reader.rows(select(r.c.id).where(r.c.id.in_(repository_ids), earlier))}
    added: dict[str, dict[int, int]] = {id_: {} for id_ in repository_ids}
    for row in await reader.rows(by_day):
        added[row.repository_id][int(row.place)] = int(row.size)
    found: dict[str, list[float]] = {}
    for id_, sizes in added.items():
        first = 0 if id_ in begun else min(sizes, default=len(shown))
        found[id_] = list(accumulate(float(sizes.get(number, 0)) for number in range(first, len(shown))))
    return found


async def trouble(reader: Reader, repository_id: str) -> Trouble | None:
    """Return that the last backup into a repository that ended failed; None when it did not."""
    j = t.backup_jobs
    ended = select(j.c.completed_at, j.c.error_message).where(j.c.repository_id == repository_id)
    newest = ended.order_by(j.c.completed_at.desc()).limit(1)
    failed = await reader.row(newest.where(j.c.status == "error"))
    good = await reader.row(newest.where(j.c.status == "success"))
    if failed is None or (good is not None and good["completed_at"] >= failed["completed_at"]):
        return None
    return Trouble(since=failed["completed_at"], error=failed["error_message"] or "it did not say why")
