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
settings.register_profile("ci", settings.get_profile("local"), max_examples=50)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "local")

pytest_plugins = ["tests.leaks"]

# what takes long, most of it by waiting
LONG = ("tests/e2e/", "tests/simulation/", "tests/test_readme.py", "tests/api/test_openapi.py")
LONG += ("tests/api/routes/test_calendar.py", "tests/services/worker/test_processes.py")

__all__ = ["database_url", "empty_tables", "looks", "postgresql", "postgresql_url"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal what takes long to all processes, to be begun with: else one is still at it when the others are done.

    Each process is given one part of the list, in order, and takes from the others' when it has done its own.
    """
    number = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if number == 1:
        return
    modules: dict[str, list[pytest.Item]] = {}
    rest: list[pytest.Item] = []
    for item in items:
        module = item.nodeid.partition("::")[0]
        (modules.setdefault(module, []) if module.startswith(LONG) else rest).append(item)
    parts: list[list[pytest.Item]] = [[] for _ in range(number)]
    for place, module in enumerate(modules):
        parts[place % number] += modules[module]
    size = -(-len(items) // number)
    for part in parts:
        missing = max(0, size - len(part))
        part.extend(rest[:missing])
        del rest[:missing]
    items[:] = [item for part in parts for item in part] + rest


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
