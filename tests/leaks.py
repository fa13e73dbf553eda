"""What a test may start, and what it leaves behind: watched for every test, whatever it is about.

- A test that starts a server (whatever listens) or a process is marked `server`; one that is not and does so fails.
- A test ends with all its tasks ended, and with all its sockets, files and processes closed.
- At the end of a session no process is left.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest

from tests.support import wait_until

STARTING = {
    "server",
    "running",
    "browser",
    "cluster",
    "postgresql",
    "distributed",
    "workers",
}  # fixtures that start processes
LAST_WORDS = 5.0  # seconds that tasks have to end in after their test, and processes after all tests
TREE = "PYTEST_PROCESS_TREE"  # an environment variable: all that tests start inherit it


def pytest_configure() -> None:
    os.environ[TREE] = uuid4().hex


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Mark what starts a server by its fixtures, and have tasks looked at last after each test that may have some."""
    for item in items:
        assert isinstance(item, pytest.Function)
        if STARTING.intersection(item.fixturenames):
            item.add_marker("server")
        if inspect.iscoroutinefunction(item.function):
            item.fixturenames.insert(0, "no_task_is_left")  # set up first, and so taken down last


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()  # what is there before the first test is nobody's: looking for what tests leave is quick without it


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    with only_if_marked(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with only_if_marked(item):
        return (yield)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Find now what was left open: else a later test, in which it happens to be found, would have to answer for it.

    What a module has imported and cached stays: it is not gone through again after each test that follows.
    """
    if item.get_closest_marker("server"):
        gc.collect()
    if nextitem is None or nextitem.path != item.path:
        gc.freeze()


@contextmanager
def only_if_marked(item: pytest.Item) -> Iterator[None]:
    """Give the context in which a test runs that may start a server or a process only if it is marked."""

    def refuse(_: Any, what: Any = None, *__: Any, **___: Any) -> None:
        raise AssertionError(f"{item.nodeid} starts {what or 'a server'}: mark it with pytest.mark.server")

    with ExitStack() as stack:
        if not item.get_closest_marker("server"):
            stack.enter_context(mock.patch.object(subprocess.Popen, "__init__", refuse))
            stack.enter_context(mock.patch.object(socket.socket, "listen", refuse))
        yield


@pytest.fixture
async def no_task_is_left() -> AsyncIterator[None]:
    yield
    if others := asyncio.all_tasks() - {asyncio.current_task()}:
        _, pending = await asyncio.wait(others, timeout=LAST_WORDS)
        assert not pending, f"these tasks have not ended with the test: {pending}"


@pytest.fixture(scope="session", autouse=True)
def no_process_is_left() -> Iterator[None]:
    yield
    with suppress(AssertionError):
        wait_until(lambda: not processes(), within=LAST_WORDS)
    assert processes() == {}, "these processes are left"


def processes() -> dict[int, str]:
    """Return the processes that tests of this session have started and that run, by id."""
    mark = f"{TREE}={os.environ[TREE]}".encode()
    found: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has ended, or is somebody else's
    return found
