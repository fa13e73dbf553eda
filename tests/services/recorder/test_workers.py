"""Enrolled workers in the tables: whatever the batches, the same rows; and nothing of their secrets."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select

from schemas import tables as t
from schemas.tokens import digest_of
from services import database
from services.recorder.store import Tables
from tests.databases import different
from tests.services.execution import STREAM
from tests.support import T0, history
from tests.workers import worker

SECRET = digest_of("secret")
ENTRIES = history(
    worker("rack-1", labels={"site": "a"}),
    worker("rack-1", labels={"site": "a"}, version=2, digest=SECRET, enrolled_at=T0),
    worker("rack-2"),
    worker("rack-2", version=2, revoked_at=T0, revoked_by="admin"),
    worker("rack-2"),  # once more: it stays revoked
    worker("rack-3"),
)


async def test_workers_on_both_databases_in_any_batches(tmp_path: Path, postgresql_url: str) -> None:
    one = database.sqlite_url(tmp_path / "one.db")
    for url, size in ((one, len(ENTRIES)), (postgresql_url, 1)):
        await database.prepare(url)
        store = Tables(url)
        for start in range(0, len(ENTRIES), size):
            await store.apply(ENTRIES[start : start + size], STREAM)
        await store.close()
    assert await different(one, postgresql_url) == []
    engine = database.reader(one)
    async with engine.connect() as connection:
        rows = [dict(row) for row in (await connection.execute(select(t.workers).order_by("id"))).mappings()]
    await engine.dispose()
    assert [(row["id"], row["labels"], row["enrolled_at"], row["revoked_by"]) for row in rows] == [
        ("rack-1", {"site": "a"}, T0, None),
        ("rack-2", {}, None, "admin"),
        ("rack-3", {}, None, None),
    ]
    assert SECRET not in str(rows)
    assert not any("digest" in column for column in rows[0])
