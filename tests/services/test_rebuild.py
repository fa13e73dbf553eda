"""SQL is a projection: rebuilt from the log, in whatever batches and with whatever crashes, it has no differences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import select, update

from bus.envelope import Stored
from bus.log import Identity
from schemas import tables as t
from services import database
from services.recorder.comparison import differences
from services.recorder.store import Tables
from tests.databases import new_database
from tests.services.story import story

STREAM = Identity(created="then", last_sequence=1_000_000)


async def fill(url: str, entries: Sequence[Stored], size: int, *, chance: Random | None = None) -> None:
    """Project a log. With `chance`, batches come again, and crashes happen around commits."""
    await database.prepare(url)
    store = Tables(url)
    position = 0
    while position < entries[-1].sequence:
        batch = [entry for entry in entries if entry.sequence > position][:size]
        if chance is not None and chance.random() < 0.3:  # the process ended; the next one asks where it was
            await store.close()
            store = Tables(url)
            assert await store.position(STREAM) == position
        await store.apply(batch, STREAM)
        if chance is not None and chance.random() < 0.3:  # it was written, and the recorder does not know
            await store.apply(batch, STREAM)
        position = await store.position(STREAM)
    await store.close()


async def found(left: str, right: str) -> list[str]:
    return [str(one) async for one in differences(left, right)]


@pytest.mark.parametrize("seed", range(6))
async def test_a_random_run_rebuilt_on_both_databases_has_no_differences(
    tmp_path: Path, postgresql: str, seed: int
) -> None:
    entries = story(seed)
    urls = [database.sqlite_url(tmp_path / name) for name in ("one.db", "two.db", "three.db")]
    urls.append(new_database(postgresql))
    chance = Random(seed)
    await fill(urls[0], entries, 1)
    await fill(urls[1], entries, 10_000)
    await fill(urls[2], entries, 7, chance=chance)
    await fill(urls[3], entries, 23, chance=chance)
    for other in urls[1:]:
        assert await found(urls[0], other) == []
    await totals_equal_a_recount(urls[0])


async def totals_equal_a_recount(url: str) -> None:
    engine = database.reader(url)
    async with engine.connect() as connection:
        flows = (await connection.execute(select(t.protection_flows))).mappings().all()
        executions = (await connection.execute(select(t.executions))).mappings().all()
        jobs = (await connection.execute(select(t.backup_jobs))).mappings().all()
    await engine.dispose()
    for flow in flows:
        mine = [one for one in executions if one["flow_id"] == flow["id"] and one["completed_at"]]
        assert flow["total_executions"] - flow["pruned_executions"] == len(mine)
        good = sum(one["status"] in {"success", "warning"} for one in mine)
        assert flow["successful_executions"] - flow["pruned_successful"] == good
        failed = sum(one["status"] == "error" for one in mine)
        assert flow["failed_executions"] - flow["pruned_failed"] == failed
    for execution in executions:
        mine = [job for job in jobs if job["execution_id"] == execution["id"]]
        if execution["completed_at"]:
            assert execution["jobs_completed"] == sum(job["status"] == "success" for job in mine)
            assert execution["jobs_failed"] == sum(job["status"] == "error" for job in mine)
            assert all(job["completed_at"] for job in mine)


async def test_a_difference_is_found_and_named(tmp_path: Path, postgresql: str) -> None:
    entries = story(3, prune=False)
    left, right = database.sqlite_url(tmp_path / "one.db"), new_database(postgresql)
    await fill(left, entries, 50)
    await fill(right, entries, 50)
    writer = database.writer(right)
    async with writer.begin() as connection:
        (id_, *_) = (await connection.execute(select(t.backup_jobs.c.id).order_by(t.backup_jobs.c.id))).scalars().all()
        await connection.execute(update(t.backup_jobs).where(t.backup_jobs.c.id == id_).values(attempt=99))
        await connection.execute(
            t.freezes.insert().values(
                id="x", since=entries[0].stored_at, until=entries[0].stored_at, reason="r", created_by="c"
            )
        )
    await writer.dispose()
    texts = await found(left, right)
    assert len(texts) == 2
    assert any(f"backup_jobs {id_}: attempt " in text and "/ 99" in text for text in texts)
    assert "freezes x: only in the second" in texts
