"""Fixtures: a real nats-server and the log on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from nats.aio.client import Client

from bus.connection import connect
from bus.log import Log
from bus.server import Server
from tests.databases import database_url, postgresql

# a machine that is busy with other tests is not slow code
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")

pytest_plugins = ["tests.leaks"]

__all__ = ["database_url", "postgresql"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A nats-server of the test's own: it starts in a tenth of a second."""
    server = Server(tmp_path / "data")
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    client = await connect(server.url, "test")
    yield client
    await client.close()


@pytest.fixture
async def log(client: Client) -> Log:
    return await Log.open(client)
