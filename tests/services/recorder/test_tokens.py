"""Tokens in the tables: whatever the batches, the same rows; and nothing of their secrets."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select

from schemas import tables as t
from services import database
from services.recorder.store import Tables
from tests.databases import different
from tests.services.execution import STREAM
from tests.support import T0, group, history
from tests.tokens import OPERATOR, token

ENTRIES = history(
    group(),
    token(groups=["group-1"], expires_at=T0),
    token("token-2", OPERATOR, role="operator"),
    token("token-2", OPERATOR, role="operator", version=2, revoked_at=T0, revoked_by="admin"),
    token("token-2", OPERATOR, role="operator"),  # once more: it stays revoked
    token("token-3", "another", name="token-1"),  # a name that is taken: no registry has decided that
)


async def test_tokens_on_both_databases_in_any_batches(tmp_path: Path, postgresql_url: str) -> None:
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
        rows = [dict(row) for row in (await connection.execute(select(t.tokens).order_by("id"))).mappings()]
    await engine.dispose()
    assert [(row["id"], row["groups"], row["revoked_by"]) for row in rows] == [
        ("token-1", ["group-1"], None),
        ("token-2", None, "admin"),
    ]
    assert "digest" not in rows[0]
