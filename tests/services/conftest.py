"""Services running against a real server and a real SQLite file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Select, select
from sqlalchemy.exc import OperationalError

from bus.clock import now
from bus.envelope import Stored
from bus.log import Log
from bus.server import Server
from schemas import tables as t
from schemas.base import Message
from services import database
from services.hosting import Service, host_all
from services.recorder.app import Recorder
from services.recorder.store import Tables
from tests.support import eventually, sent


class Engine:
    """A log, a database, and whichever services a test runs on them."""

    def __init__(self, server: Server, log: Log, database_url: str) -> None:
        self.server = server
        self.log = log
        self.database_url = database_url
        self._commands = 0

    @asynccontextmanager
    async def running(self, *services: Service) -> AsyncIterator[asyncio.Task[None]]:
        """Run services; the task ends when one of them fails."""
        stop = asyncio.Event()
        task = asyncio.create_task(host_all(services, self.server.url, stop))
        try:
            yield task
        finally:
            stop.set()
            await task

    def recorder(self) -> Recorder:
        return Recorder(Tables(self.database_url))

    async def ask(self, *commands: Message) -> list[int]:
        sequences = []
        for command in commands:
            self._commands += 1
            event = sent(command, id=f"command-{self._commands}", time=now(), actor="admin")
            sequences.append(await self.log.publish_once(event))
        return sequences

    async def messages(self, *subjects: str) -> list[Any]:
        """Return what the messages on these subjects say."""
        entries = await self.log.read(subjects or (">",))
        return [entry.envelope.data for entry in entries if isinstance(entry, Stored)]

    async def until(self, subject: str, count: int = 1, within: float = 20) -> list[Any]:
        """Return what is on a subject filter, once there are so many messages."""

        async def there() -> list[Any]:
            found = await self.messages(subject)
            return found if len(found) >= count else []

        found: list[Any] = await eventually(there, within=within, why=f"{count} on {subject}")
        return found

    async def read_by(self, *services: Any) -> None:
        """Wait until services that decide have read all that is on the log for them."""
        for one in services:
            last = max([await self.log.last_sequence(subject) for subject in one.reads])
            await eventually(lambda one=one, last=last: one.position >= last, why=f"{one.name} at {last}")

    async def recorded(self) -> None:
        """Wait until the tables hold all that is on the log, with what a recorder itself says meanwhile."""

        async def there() -> bool:
            try:
                rows = await self.rows(select(t.projection))
            except OperationalError:
                return False  # the tables are not there yet
            last = (await self.log.identity()).last_sequence
            return bool(rows) and rows[0]["position"] >= last

        await eventually(there, why="the tables at the end of the log")

    async def rows(self, statement: Select[Any]) -> list[dict[str, Any]]:
        engine = database.reader(self.database_url)
        try:
            async with engine.connect() as connection:
                return [dict(row) for row in (await connection.execute(statement)).mappings()]
        finally:
            await engine.dispose()


@pytest.fixture
def engine(server: Server, log: Log, tmp_path: Path) -> Engine:
    return Engine(server, log, database.sqlite_url(tmp_path / "flows.db"))
