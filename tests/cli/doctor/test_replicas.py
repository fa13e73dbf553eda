"""Replicas of the log that lack messages, on a real cluster: the doctor names them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from bus.checkpoint import BUCKET
from bus.clock import now
from bus.errors import Unavailable
from bus.log import Log
from bus.setup import declare_at
from bus.stream import Placement
from cli.doctor import checks
from services import database
from tests.cluster import Cluster
from tests.support import due, eventually, sent

pytestmark = pytest.mark.server


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with Cluster(tmp_path) as cluster:
        yield cluster


@pytest.fixture
async def tables(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    url = database.sqlite_url(tmp_path / "flows.db")
    await database.prepare(url)
    tables = database.reader(url)
    yield tables
    await tables.dispose()


async def test_a_replica_that_is_not_current_is_named(
    cluster: Cluster, tables: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "PATIENCE", 0.1)
    await declare_at(cluster.urls, placement=Placement(replicas=3))
    log = Log(cluster.client)

    async def named() -> list[str] | None:
        with suppress(Unavailable):  # the killed server may have led the queue, and another has to be elected
            found = [finding async for finding in checks.examine(log, tables)]
            about = [finding for finding in found if "replica" in finding.text]
            assert len(about) == 1
            return [finding.text for finding in about if finding.level == "problem"]
        return None

    async def none_is() -> bool:
        return len((await log.identity()).replicas) == 2 and await named() == []

    async def beside_too() -> bool:
        found = (await cluster.js.stream_info(f"KV_{BUCKET}")).cluster
        return found is not None and len(found.replicas or []) == 2 and all(one.current for one in found.replicas or [])

    await eventually(none_is)
    await eventually(beside_too)  # else the one that is killed may be the only one that has the bucket
    leader, asked = await cluster.leader(), cluster.client.connected_url.port
    follower = next(one for one in cluster.members if one is not leader and one.port != asked)
    follower.kill()
    await log.append([sent(due(), time=now())], expect={})
    (problem,) = await eventually(named, within=30)
    assert f"the replica of the log on server {follower.name} is not current" in problem
    follower.start()
    await eventually(none_is, within=30)
