"""A worker shows that it lives and what it holds, and nobody takes that from it."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

import pytest

from bus.checkpoint import Status
from services import consuming
from services.worker import presence
from services.worker.app import Worker
from services.worker.followed import Followed
from services.worker.history import History
from services.worker.status import key_of
from tests.services.conftest import Engine
from tests.services.worker.support import (
    LEASE,
    Gate,
    Observed,
    claim,
    lease,
    living,
    request,
    say,
    started,
)
from tests.support import T0, eventually

__all__ = ["lease"]


async def test_what_a_live_worker_holds_is_not_taken_from_it(engine: Engine) -> None:
    gate = Gate()
    gate.open.set()
    await say(engine.log, request(), started(1, "two"))
    worker = Observed(engines={"simulated": gate}, worker_id="one")
    async with engine.running(worker):
        async with living(engine, "two", "backup-1"):
            await eventually(lambda: len(worker.deliveries) > 4)  # for longer than a lease
            assert gate.begun == []
        await engine.until("backup.completed.>")  # as it is silent now
    assert gate.begun == [2]


async def test_what_a_live_worker_does_not_hold_any_more_is_taken(engine: Engine) -> None:
    """It has read its own beginning of the attempt, and says that it is not at work on it."""
    gate = Gate()
    gate.open.set()
    last = await say(engine.log, request(), started(1, "two"))
    async with engine.running(Observed(engines={"simulated": gate}, worker_id="one")):
        while not gate.begun:
            await engine.log.put_status(key_of("two"), claim(position=last))
        await engine.until("backup.completed.>")
    assert gate.begun == [2]


async def test_a_worker_says_that_it_lives_and_what_it_holds(engine: Engine) -> None:
    gate = Gate()

    async def noted() -> dict[str, Any]:
        notes = await engine.log.statuses("worker.")
        return notes["worker.one"].value if "worker.one" in notes else {}

    async def holds() -> bool:
        return (await noted()).get("holding") == ["backup-1"]

    async def holds_nothing() -> bool:
        return (await noted()).get("holding") == []

    async with engine.running(Worker(engines={"simulated": gate}, worker_id="one", slots=3)):
        await eventually(holds_nothing)
        await say(engine.log, request())
        await eventually(holds)
        found = await noted()
        assert (found["slots"], found["engines"]) == (3, ["simulated"])
        first = (await engine.log.statuses("worker."))["worker.one"].at

        async def renewed() -> bool:
            return (await engine.log.statuses("worker."))["worker.one"].at > first

        await eventually(renewed)
    assert await holds_nothing()  # it hands on what it held, and says so
    assert (await noted())["slots"] == 0  # and it takes nothing more


async def test_a_worker_that_stops_hands_on_at_once_what_it_held(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consuming, "RETRY_DELAY", 0.1)
    first, second = Gate(), Gate()
    second.open.set()
    async with engine.running(Worker(engines={"simulated": first}, worker_id="one")):
        await say(engine.log, request())
        await eventually(lambda: first.begun)
    stopped = asyncio.get_running_loop().time()
    async with engine.running(Worker(engines={"simulated": second}, worker_id="two")):
        await engine.until("backup.completed.>")
    assert asyncio.get_running_loop().time() - stopped < LEASE
    assert second.begun == [2]


async def test_notes_of_dead_workers_are_removed_by_the_living(monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[str] = []

    class Board:
        async def statuses(self, prefix: str) -> dict[str, Status]:
            assert prefix == "worker."
            ages = {"worker.live": 2, "worker.dead": 600, "worker.long-dead": 3700}
            return {key: Status(value=claim(), at=T0 - timedelta(seconds=age)) for key, age in ages.items()}

        async def time(self) -> Any:
            return T0

        async def delete_status(self, key: str) -> None:
            removed.append(key)

    board: Any = Board()
    history = History(board, Followed(board))
    living = presence.Presence(
        board, "one", slots=1, engines=[], labels={}, held={}, history=history, looked=lambda: None, lease=LEASE
    )
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(living._tidy(), 0.1)
    assert removed == ["worker.long-dead"]
