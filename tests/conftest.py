"""Fixtures: a real nats-server and the log on it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from nats.aio.client import Client

from bus import setup
from bus.connection import connect
from bus.log import Log
from bus.server import Server
from bus.setup import declare_at
from tests.databases import database_url, empty_tables, postgresql, postgresql_url
from tests.looks import looks
from tests.servers import root, server_in

# no deadline: a machine that is busy with other tests is not slow code
settings.register_profile("local", deadline=None, print_blob=True, max_examples=40)
settings.register_profile("ci", settings.get_profile("local"), max_examples=100)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "local")

pytest_plugins = ["tests.leaks"]

__all__ = ["database_url", "empty_tables", "looks", "postgresql", "postgresql_url"]


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_remembered(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Commands run as for a user who remembers no engine, whatever the one who runs the tests does."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("config"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A nats-server of the test's own: it starts in a tenth of a second."""
    server = server_in(tmp_path / "data")
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    client = await connect(root(server), "test")
    yield client
    await client.close()


@pytest.fixture
async def log(server: Server, client: Client) -> Log:
    await declare_at(server.url, setup.QUEUES)  # as they are now: tests shorten their leases
    return Log(client)
