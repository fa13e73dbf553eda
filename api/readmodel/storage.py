"""What backups take of a repository, day by day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from api.readmodel import days
from api.readmodel.reader import Reader, consistent, shaped
from api.responses.repositories import StorageDay
from schemas import tables as t
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
