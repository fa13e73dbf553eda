"""Settings from the environment: a password that is in none, and a file that shows that a process lives."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bus.tasks import cancel_and_wait
from cli import notify, places
from cli.notify import Notifier
from cli.settings import as_environment, database_url, from_environment
from tests.support import eventually

PLACE = "postgresql+psycopg://flows_api@database/flows"


@pytest.fixture
def password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "database-api"
    file.write_text("p@ss/w:rd%\n")
    monkeypatch.setenv("FLOWS_DATABASE_PASSWORD_FILE", str(file))
    return file


@pytest.mark.usefixtures("password")
def test_a_file_holds_the_databases_password(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = "postgresql+psycopg://flows_api:p%40ss%2Fw%3Ard%25@database/flows"
    monkeypatch.setenv("FLOWS_DATABASE_URL", PLACE)
    assert from_environment().database_url == places.database_url(None) == whole
    monkeypatch.setenv("FLOWS_DATABASE_URL", "postgresql+psycopg://me@/flows?host=/run/postgresql")
    assert database_url() == "postgresql+psycopg://me:p%40ss%2Fw%3Ard%25@/flows?host=/run/postgresql"
    assert as_environment(from_environment())["FLOWS_DATABASE_PASSWORD_FILE"] == ""


@pytest.mark.parametrize(
    "url",
    ["postgresql+psycopg://me:open@database/flows", "postgresql+psycopg://database/flows", "sqlite+aiosqlite:////x.db"],
)
def test_two_passwords_and_one_for_nobody_are_refused(
    url: str, password: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWS_DATABASE_URL", url)
    with pytest.raises(ValueError, match="must then name a user, and no password") as refused:
        database_url()
    assert "open" not in str(refused.value)
    assert password.read_text().strip() not in str(refused.value)


def test_a_file_that_cannot_be_read_is_named(password: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWS_DATABASE_URL", PLACE)
    password.write_bytes(b"\xff")
    with pytest.raises(ValueError, match=f"cannot read {password}: it is no text"):
        database_url()
    password.unlink()
    with pytest.raises(ValueError, match=f"cannot read {password}: No such file"):
        database_url()


async def test_a_file_is_touched_as_long_as_a_process_that_has_started_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "EVERY", 0.01)
    file = tmp_path / "alive"
    monkeypatch.setenv("FLOWS_ALIVE_FILE", str(file))
    settings = from_environment()
    notifier = Notifier(settings.watchdog, settings.alive_file)
    notifying = asyncio.create_task(notifier.run())
    await asyncio.sleep(0.05)  # not a wait: it starts for so long
    assert not file.exists()
    notifier.started()
    first = file.stat().st_mtime_ns
    await eventually(lambda: file.stat().st_mtime_ns > first)
    await cancel_and_wait(notifying)
