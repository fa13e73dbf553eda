from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Client, Running


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One engine for all commands that talk to one: what a test makes has names of its own."""
    running = Running(tmp_path_factory.mktemp("engine") / "data").start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="session")
def api(running: Running) -> Client:
    return running.client()


@pytest.fixture
def here(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who talks to that engine by its data folder, and remembers nothing yet."""
    for name in ("FLOWS_URL", "FLOWS_ADMIN_TOKEN_FILE", "FLOWS_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FLOWS_DATA_DIR", str(running.folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


_numbers = itertools.count()


@pytest.fixture
def unique() -> str:
    """A name that no other test uses, nor begins one of its own with."""
    return f"n{next(_numbers)}x"
