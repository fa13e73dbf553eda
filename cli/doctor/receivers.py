"""The check of notifications: whether each receiver gets its messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from cli.doctor.findings import Finding, failed, finding
from cli.shown import plural
from schemas import tables as t
from services import database

BEHIND = timedelta(minutes=1)  # since its oldest message became due, until a receiver counts as behind


async def receivers(tables: AsyncEngine, present: datetime) -> Finding:
    """Return which receivers have not had what was due for them a while ago."""
    d, n = t.deliveries, t.notifications
    waiting = (
        select(n.c.name, func.count().label("number"), func.min(d.c.created_at).label("since"))
        .select_from(n.join(d, d.c.notification_id == n.c.id))
        .where(d.c.state.in_(("waiting", "retrying")))
        .group_by(n.c.id, n.c.name)
        .order_by(n.c.name)
    )
    why = (
        select(n.c.name, d.c.last_error)
        .select_from(n.join(d, d.c.notification_id == n.c.id))
        .where(d.c.state == "retrying")
    )
    try:
        async with database.snapshot(tables) as moment:
            rows = (await moment.execute(waiting)).mappings().all()
            errors: dict[str, str] = {row.name: row.last_error for row in await moment.execute(why)}
    except SQLAlchemyError as error:
        return failed(f"the messages to people cannot be read: {str(error.__cause__ or error).splitlines()[0]}")
    return finding(_behind(rows, errors, present), "every receiver of notifications has had its messages", passing=True)


def _behind(rows: Sequence[Mapping[Any, Any]], errors: Mapping[str, str], present: datetime) -> Iterator[str]:
    for row in rows:
        name, since = row["name"], row["since"]
        if present - since > BEHIND:
            why = errors.get(name) or "is a notifier running?"
            yield (
                f"the receiver of notification {name!r} is behind: {plural(row['number'], 'message')}, "
                f"the oldest since {since:%Y-%m-%d %H:%M} UTC: {why}"
            )
