"""Replicas and placement: of the stream and of the bucket beside it, when they are made and later."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.js.api import StoreCompression

from bus.checkpoint import BUCKET
from bus.errors import Unavailable
from bus.server import Server
from bus.setup import declare_at
from bus.stream import Placement
from bus.subjects import STREAM
from tests.cluster import Cluster


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with Cluster(tmp_path) as cluster:
        yield cluster


async def replicas(cluster: Cluster) -> dict[str, int | None]:
    return {one: (await cluster.js.stream_info(one)).config.num_replicas for one in (STREAM, f"KV_{BUCKET}")}


async def compression(cluster: Cluster) -> StoreCompression | None:
    return (await cluster.js.stream_info(STREAM)).config.compression


async def test_replicas_are_brought_to_what_is_said_and_else_left(cluster: Cluster) -> None:
    await declare_at(cluster.urls, placement=Placement(replicas=1))
    assert set((await replicas(cluster)).values()) == {1}
    assert await compression(cluster) == StoreCompression.S2
    await declare_at(cluster.urls, placement=Placement(replicas=3))
    assert set((await replicas(cluster)).values()) == {3}
    assert await compression(cluster) == StoreCompression.NONE  # docs/adr/0019
    await declare_at(cluster.urls, placement=Placement())
    assert set((await replicas(cluster)).values()) == {3}
    assert await compression(cluster) == StoreCompression.NONE
    with pytest.raises(Unavailable, match=r"cannot be kept on any servers with the tags nowhere.*FLOWS_PLACEMENT_TAGS"):
        await declare_at(cluster.urls, placement=Placement(tags=("nowhere",)))


async def test_one_server_cannot_keep_three_replicas(server: Server) -> None:
    with pytest.raises(Unavailable, match=r"cannot be kept on 3 servers.*FLOWS_REPLICAS"):
        await declare_at(server.url, placement=Placement(replicas=3))
