"""An executor that dies before or after any of its appends leaves the same tables as one that never died."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from bus.appending import Guards
from bus.connection import connect
from bus.envelope import Envelope
from bus.log import Log
from bus.setup import declare_at
from bus.tasks import cancel_and_wait
from schemas import commands as c
from schemas import tables as t
from schemas.definitions import FlowPatch
from services import database
from services.executor.app import Executor
from services.registry.app import Registry
from services.worker.app import Worker
from tests.servers import root, server_in
from tests.services.conftest import Engine
from tests.services.house import built, house
from tests.support import eventually


class Crash(Exception):
    """The process is gone."""


class CrashingLog:
    """The log, for a process that dies at one of its appends: `before` or after it is stored."""

    def __init__(self, log: Log, at: int, *, before: bool) -> None:
        self._log = log
        self._left = at
        self._before = before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def append(self, events: Sequence[Envelope], *, expect: Guards) -> int:
        self._left -= 1
        if self._left < 0 and self._before:
            raise Crash
        last = await self._log.append(events, expect=expect)
        if self._left < 0:
            raise Crash
        return last


class CountingLog(CrashingLog):
    """The log, for a process that does not die; it counts the appends."""

    def __init__(self, log: Log) -> None:
        super().__init__(log, 1_000, before=False)

    @property
    def appends(self) -> int:
        return 1_000 - self._left


APPENDS = 5  # of the script; a test checks the number, so that none is left out
COLUMNS = {
    t.executions: ("id", "flow_id", "status", "execution_type", "jobs_created", "jobs_completed", "error_message"),
    t.backup_jobs: ("id", "execution_id", "context_id", "status", "attempt", "bytes_transferred", "error_message"),
    t.protection_flows: ("id", "total_executions", "successful_executions", "last_execution_id"),
    t.commands: ("id", "entity", "verb", "outcome", "code", "reason"),
}
Tables = dict[str, list[dict[str, Any]]]
_unharmed: list[Tables] = []


async def tables(engine: Engine) -> Tables:
    """Return the tables without what differs between any two runs: times, and places on the log."""
    found: Tables = {}
    async with engine.running(engine.recorder()):
        await engine.recorded()
    for table, columns in COLUMNS.items():
        statement = select(*(table.c[column] for column in columns)).order_by(table.c.id)
        found[table.name] = await engine.rows(statement)
    return found


async def scripted(engine: Engine, run: Any) -> Tables:
    """Four VMs, two at a time; executed twice, the second one skipped."""
    commands = house(vms=4)
    flow = commands[-1]
    assert isinstance(flow, c.CreateFlow)
    async with engine.running(Registry()):
        await built(engine, commands)
        await engine.ask(c.UpdateFlow(id="flow", patch=FlowPatch(max_concurrent_jobs=2)))
        await engine.until("catalog.flow.*", 2)
    await engine.ask(c.ExecuteFlow(id="flow"), c.ExecuteFlow(id="flow"))
    async with engine.running(Worker(slots=2)):
        await run()
        await engine.until("flow.completed.*")
        await engine.until("flow.skipped.*")
    return await tables(engine)


async def until_done(engine: Engine, executor: Executor) -> None:
    """Run an executor until it dies, or the script has ended."""
    work = asyncio.create_task(executor.run())

    async def script_ended() -> bool:
        return work.done() or await over(engine)

    await eventually(script_ended)
    await cancel_and_wait(work)
    assert work.cancelled() or isinstance(work.exception(), Crash)


async def over(engine: Engine) -> bool:
    return bool(await engine.messages("flow.completed.*") and await engine.messages("flow.skipped.*"))


async def run_executor(engine: Engine, log: Any) -> None:
    executor = Executor()
    await executor.open(log, None)  # type: ignore[arg-type]
    await until_done(engine, executor)


async def unharmed(tmp_path: Path) -> Tables:
    """Return the tables of the script's run without a crash, on a server of its own."""
    if not _unharmed:
        server = server_in(tmp_path / "unharmed")
        server.start()
        try:
            client = await connect(root(server), "unharmed")
            await declare_at(server.url)
            engine = Engine(server, Log(client), database.sqlite_url(tmp_path / "unharmed.db"))
            log = CountingLog(engine.log)
            _unharmed.append(await scripted(engine, lambda: run_executor(engine, log)))
            assert 3 <= log.appends <= APPENDS, "the script has more appends than the test goes through"
            await client.close()
        finally:
            server.stop()
    return _unharmed[0]


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("at", range(APPENDS))
async def test_a_crash_at_any_append_changes_nothing(engine: Engine, tmp_path: Path, at: int, *, before: bool) -> None:
    died = False

    async def run() -> None:
        nonlocal died
        await run_executor(engine, CrashingLog(engine.log, at, before=before))
        died = not await over(engine)
        await run_executor(engine, engine.log)

    found = await scripted(engine, run)
    assert found == await unharmed(tmp_path)
    assert len(found["backup_jobs"]) == 4
    assert died or at > 1  # the first appends are certainly survived by a second executor's work
