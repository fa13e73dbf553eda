"""The history that is made for looking at the page is one that an engine could have."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import func, select

from api.readmodel import coverage
from api.readmodel.reader import Page, Reader
from schemas import tables as t
from services import database
from tests.page.seed import World, into_tables, messages

WORLD = World(vms=7, flows=3, days=4, until=datetime(2026, 11, 20, 12, tzinfo=UTC))


async def test_every_message_of_it_makes_rows(postgresql_url: str) -> None:
    number = await into_tables(messages(WORLD), postgresql_url)
    reader = Reader(database.reader(postgresql_url))
    counted = {
        table.name: (await reader.rows(select(func.count()).select_from(table)))[0][0]
        for table in (t.events, t.executions, t.backup_jobs)
    }
    assert counted == {"events": number, "protection_flow_executions": 3 * 4, "backup_jobs": 7 * 4}
    open_ = select(func.count()).where(t.executions.c.completed_at.is_(None))
    assert (await reader.rows(open_))[0][0] == 0
    found = await coverage.find(reader, coverage.CoverageFilter(), None, Page(limit=100), WORLD.until)
    assert found.counts.protected + found.counts.failing == 7
    await reader._engine.dispose()
