"""The log's own messages, from their second copy in the tables."""

from __future__ import annotations

import msgspec
from sqlalchemy import select

from api.answers import EventList, LoggedEvent
from api.readmodel.reading import Page, Reading
from schemas import tables as t


async def of_execution(reading: Reading, execution_id: str, page: Page) -> EventList:
    """Return a page of all messages that belong to an execution, in the log's order."""
    e = t.events
    statement = select(e.c.sequence, e.c.subject, e.c.body).where(e.c.correlation == execution_id)
    rows, total = await reading.page(statement.order_by(e.c.sequence), page)
    events = [
        LoggedEvent(sequence=row["sequence"], subject=row["subject"], event=msgspec.json.decode(row["body"]))
        for row in rows
    ]
    return EventList(events=events, total=total)
