"""Services that share a process: when one ends, however, all do, and it is said which."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from bus.log import Log
from bus.server import Server
from services import hosting
from services.hosting import Subscribe, host_all


async def for_ever() -> None:
    await asyncio.Event().wait()


async def at_once() -> None:
    pass


async def fail() -> None:
    raise ValueError("it cannot go on")


async def cancel() -> None:
    raise asyncio.CancelledError


class Part:
    """A service of which each test says what it does."""

    reads: Sequence[str] = ()
    position = 0

    def __init__(
        self, name: str, run: Callable[[], Awaitable[None]] = for_ever, begin: Callable[[], Awaitable[None]] = at_once
    ) -> None:
        self.name, self._run, self._begin = name, run, begin

    async def open(self, log: Log, subscribe: Subscribe) -> None:
        await self._begin()

    async def run(self) -> None:
        await self._run()


@pytest.mark.parametrize(
    ("run", "says"), [(fail, "it cannot go on"), (at_once, "has ended by itself"), (cancel, "has ended by itself")]
)
async def test_a_service_that_ends_leaves_none_of_the_others_running(
    server: Server, log: Log, run: Callable[[], Awaitable[None]], says: str
) -> None:
    stop = asyncio.Event()
    with pytest.raises((ValueError, RuntimeError), match=says) as failed:
        async with asyncio.timeout(20):
            await host_all([Part("registry"), Part("scheduler", run), Part("executor")], server.url, stop)
    assert failed.value.__notes__ == ["the scheduler failed"]
    assert stop.is_set()


async def test_a_failure_does_not_wait_for_a_service_that_never_opens(
    server: Server, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosting, "PATIENCE", 0.1)
    with pytest.raises(ValueError, match="it cannot go on"):
        async with asyncio.timeout(20):
            await host_all([Part("registry", begin=for_ever), Part("scheduler", fail)], server.url, asyncio.Event())


class Holder(Part):
    """One that holds something until it is closed."""

    closed = 0

    async def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("at", ["before it is opened", "once it is open", "while it runs", "opening fails", "it fails"])
async def test_what_a_service_holds_is_closed_however_it_ends(server: Server, log: Log, at: str) -> None:
    """A recorder that was stopped between opening and running left its database open."""
    stop = asyncio.Event()

    async def leave() -> None:
        stop.set()

    begin = {"once it is open": leave, "opening fails": fail}.get(at, at_once)
    part = Holder("scheduler", fail if at == "it fails" else for_ever, begin)
    if at == "before it is opened":
        stop.set()
    started = asyncio.Event()
    hosting = asyncio.create_task(host_all([part], server.url, stop, on_start=lambda _: started.set()))
    if at == "while it runs":
        await started.wait()
        stop.set()
    async with asyncio.timeout(20):
        (outcome,) = await asyncio.gather(hosting, return_exceptions=True)
    assert isinstance(outcome, ValueError) == at.endswith("fails")
    assert part.closed == 1
