from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.running import APART, Client, Running


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One engine for all tests of the API: what a test makes has names of its own."""
    running = Running(tmp_path_factory.mktemp("engine") / "data", APART).start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="session")
def api(running: Running) -> Client:
    return running.client()


_numbers = itertools.count()


@pytest.fixture
def unique() -> str:
    """A name that no other test uses, nor begins one of its own with: n1 and a zero behind it would be n10."""
    return f"n{next(_numbers)}x"
