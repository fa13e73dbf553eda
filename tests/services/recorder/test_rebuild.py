"""SQL is a projection: rebuilt from the log, in whatever batches and with whatever crashes, it has no differences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace
from sqlalchemy import select, update

from bus.envelope import Stored
from bus.log import Identity
from schemas import tables as t
from services import database
from services.recorder.store import Publish, Tables, publish_nothing
from services.unusable import DeadLetter
from tests.databases import different
from tests.services.story import story

STREAM = Identity(created="then", last_sequence=10**9)


async def fill(
    url: str,
    entries: Sequence[Stored],
    size: int,
    *,
    chance: Random | None = None,
    say: Publish = publish_nothing,
) -> None:
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
        await store.apply(batch, STREAM, say)
        if chance is not None and chance.random() < 0.3:  # it was written, and the recorder does not know
            await store.apply(batch, STREAM)
        position = await store.position(STREAM)
    await store.close()


@pytest.mark.parametrize(("seed", "size"), list(enumerate([1, 3, 11])))
async def test_a_random_run_rebuilt_on_both_databases_has_no_differences(
    tmp_path: Path, postgresql_url: str, seed: int, size: int
) -> None:
    entries = story(seed)
    urls = [database.sqlite_url(tmp_path / name) for name in ("one.db", "two.db", "three.db")]
    urls.append(postgresql_url)
    chance = Random(seed)
    await fill(urls[0], entries, size)
    await fill(urls[1], entries, 10_000)
    await fill(urls[2], entries, 7, chance=chance)
    await fill(urls[3], entries, 23, chance=chance)
    for other in urls[1:]:
        assert await different(urls[0], other) == []
    await totals_equal_a_recount(urls[0])


@pytest.mark.parametrize("seed", range(2))
async def test_a_log_that_repeats_itself_is_projected_as_one_that_does_not(
    tmp_path: Path, postgresql_url: str, seed: int
) -> None:
    """Whatever is doubled, dropped or out of order, in whatever batches, on both databases."""
    chance = Random(seed)
    entries = [one for one in story(seed) if chance.random() > 0.03]
    for n in range(len(entries) - 1):
        one, two = entries[n : n + 2]
        reports = [getattr(entry.envelope.data, "backup_id", None) for entry in (one, two)]
        if None not in reports and reports[0] != reports[1] and chance.random() < 0.3:
            entries[n : n + 2] = two, one
    entries = [replace(entry, sequence=1_000 * n) for n, entry in enumerate(entries, start=1)]
    aside: list[int] = []

    async def say(some: Sequence[DeadLetter]) -> None:
        aside.extend(one.entry.sequence for one in some)

    urls = [database.sqlite_url(tmp_path / name) for name in ("one.db", "two.db")]
    await fill(urls[0], entries, 50, say=say)
    repeats = []
    used = [one for one in entries if one.sequence not in aside]
    for entry in chance.sample(used, min(len(entries) // 2, len(used))):
        place = entry.sequence + chance.choice([1, 1, 1_001, 20_001, 10**6])
        repeats.append(replace(entry, sequence=place + len(repeats)))
    doubled = sorted([*entries, *repeats], key=lambda entry: entry.sequence)
    urls.append(postgresql_url)
    await fill(urls[1], doubled, 10_000)
    await fill(urls[2], doubled, chance.randrange(10, 40), chance=chance)
    for other in urls[1:]:
        found_ = [text for text in await different(urls[0], other) if not text.startswith(("events ", "projection "))]
        assert found_ == []
    assert await different(urls[1], urls[2]) == []


async def totals_equal_a_recount(url: str) -> None:
    engine = database.reader(url)
    async with engine.connect() as connection:
        flows = (await connection.execute(select(t.protection_flows))).mappings().all()
        executions = (await connection.execute(select(t.executions))).mappings().all()
        jobs = (await connection.execute(select(t.backup_jobs))).mappings().all()
    await engine.dispose()
    for flow in flows:
        # what never began counts for nothing
        ended = [one for one in executions if one["completed_at"] and one["started_at"]]
        mine = [one for one in ended if one["flow_id"] == flow["id"]]
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


async def test_a_difference_is_found_and_named(tmp_path: Path, postgresql_url: str) -> None:
    entries = story(3, prune=False)
    left, right = database.sqlite_url(tmp_path / "one.db"), postgresql_url
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
    texts = await different(left, right)
    assert len(texts) == 2
    assert any(f"backup_jobs {id_}: attempt " in text and "/ 99" in text for text in texts)
    assert "freezes x: only in the second" in texts
