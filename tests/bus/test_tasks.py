"""Tasks that are cancelled have ended, also those that swallow a cancellation, and also when who waits is cancelled."""

from __future__ import annotations

import asyncio

import pytest

from bus import tasks
from bus.tasks import cancel_and_wait, uninterrupted


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AGAIN", 0.01)


class Stubborn:
    """Work that swallows so many cancellations."""

    def __init__(self, swallows: int) -> None:
        self.left = swallows
        self.begun = asyncio.Event()

    async def work(self) -> None:
        while True:
            try:
                self.begun.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if not self.left:
                    raise
                self.left -= 1


async def test_it_cancels_until_all_have_ended() -> None:
    stubborn = Stubborn(3)
    task = asyncio.create_task(stubborn.work())
    await stubborn.begun.wait()
    await cancel_and_wait(task, asyncio.create_task(asyncio.Event().wait()))
    assert task.cancelled()


async def test_who_is_cancelled_while_it_waits_has_waited_nevertheless() -> None:
    """As a service that has tasks of its own is ended by whoever hosts it: again and again, until it has ended."""
    stubborn = Stubborn(5)
    task = asyncio.create_task(stubborn.work())
    await stubborn.begun.wait()

    async def service() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await cancel_and_wait(task)

    host = asyncio.create_task(service())
    await asyncio.sleep(0)
    await cancel_and_wait(host)
    assert host.cancelled()
    ended = task.done()
    await cancel_and_wait(task)
    assert ended


async def test_what_is_uninterrupted_is_done_however_often_it_is_cancelled() -> None:
    """A recorder that is told to stop again and again while its transaction takes long does not leave that behind."""
    may, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await may.wait()
        done.set()

    task = asyncio.create_task(uninterrupted(work()))
    stopping = asyncio.create_task(cancel_and_wait(task))
    await asyncio.sleep(5 * tasks.AGAIN)  # not a wait: it is cancelled again and again meanwhile
    assert not task.done()
    may.set()
    await stopping
    assert done.is_set()
    assert task.cancelled()
