"""An executor that dies before or after any of its appends leaves the same history as one that never died."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from bus.envelope import Envelope
from bus.log import Guards, Log
from bus.tasks import ended
from schemas import commands as c
from schemas.definitions import FlowPatch
from services.executor.app import Executor
from services.registry.app import Registry
from services.worker.app import Worker
from tests.services.conftest import Engine
from tests.services.test_services import built, house
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


async def history(engine: Engine) -> list[tuple[str, str]]:
    """Return what the executor has said, in the order of its own kinds."""
    subjects = ("flow.started.*", "flow.planned.*", "flow.skipped.*", "flow.completed.*", "backup.requested.*")
    entries = await engine.log.read([*subjects, "backup.skipped.*"])
    return sorted((entry.subject, entry.envelope.id) for entry in entries)  # type: ignore[union-attr]


async def scripted(engine: Engine, run: Any) -> list[tuple[str, str]]:
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
    return await history(engine)


async def until_done(engine: Engine, executor: Executor) -> None:
    """Run an executor until it dies, or the script has ended."""
    work = asyncio.create_task(executor.run())

    async def script_ended() -> bool:
        return work.done() or bool(
            await engine.messages("flow.completed.*") and await engine.messages("flow.skipped.*")
        )

    await eventually(script_ended)
    await ended(work)
    assert work.cancelled() or isinstance(work.exception(), Crash)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("at", range(5))
async def test_a_crash_at_any_append_changes_nothing(engine: Engine, at: int, *, before: bool) -> None:
    died = False

    async def run() -> None:
        nonlocal died
        first = Executor()
        await first.open(CrashingLog(engine.log, at, before=before), None)  # type: ignore[arg-type]
        await until_done(engine, first)
        died = not (await engine.messages("flow.completed.*") and await engine.messages("flow.skipped.*"))
        second = Executor()
        await second.open(engine.log, None)  # type: ignore[arg-type]
        await until_done(engine, second)

    said = await scripted(engine, run)
    kinds = [subject.split(".")[1] for subject, _ in said]
    assert kinds == ["requested"] * 4 + ["completed", "planned", "skipped", "started"]
    assert len(set(said)) == len(said)
    assert died or at > 1  # the first appends are certainly survived by a second executor's work
