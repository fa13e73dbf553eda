"""Statistics over time: how executions ended, how long they took, and what they moved."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import case, func, select

from api.readmodel.reader import Reader
from api.responses.executions import Bucket, Statistics
from schemas import tables as t


async def by_day(reader: Reader, since: datetime, until: datetime, flow_id: str | None) -> Statistics:
    """Return a bucket for each day with executions, and their total."""
    e = t.executions

    def count(*statuses: str) -> Any:
        return func.sum(case((e.c.status.in_(statuses), 1), else_=0))

    day = reader.day_of(e.c.started_at)
    seconds = reader.seconds_between(e.c.started_at, e.c.completed_at)
    sums = (
        func.count().label("executions"),
        count("success", "warning").label("successful"),
        count("error").label("failed"),
        count("cancelled").label("cancelled"),
        func.sum(seconds).label("seconds"),
        func.sum(e.c.bytes_transferred).label("bytes"),
    )
    statement = select(day.label("day"), *sums).where(
        e.c.started_at >= since, e.c.started_at < until, e.c.completed_at.is_not(None)
    )
    if flow_id is not None:
        statement = statement.where(e.c.flow_id == flow_id)
    rows = await reader.mappings(statement.group_by(day).order_by(day))
    total: dict[str, Any] = {"day": "total"}
    for name in ("executions", "successful", "failed", "cancelled", "seconds", "bytes"):
        total[name] = sum(float(row[name]) if name == "seconds" else int(row[name]) for row in rows)
    return Statistics(days=[_bucket(row) for row in rows], total=_bucket(total))


def _bucket(row: Mapping[str, Any]) -> Bucket:
    number = int(row["executions"])
    return Bucket(
        day=str(row["day"]),
        executions=number,
        successful=int(row["successful"]),
        failed=int(row["failed"]),
        cancelled=int(row["cancelled"]),
        success_rate=round(int(row["successful"]) / number, 4) if number else None,
        average_seconds=round(float(row["seconds"]) / number, 3) if number else None,
        bytes_transferred=int(row["bytes"]),
    )
