"""The loop in virtual time: processes are paused and crashed at an await, and nothing else notices."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.simulation.loop import Process, SimulatedLoop, Stalled


def test_time_jumps_to_the_next_timer() -> None:
    loop = SimulatedLoop()
    began = time.monotonic()

    async def wait() -> float:
        await asyncio.sleep(86_400)
        async with asyncio.timeout(10):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 5)
        return loop.time()

    assert loop.run_until_complete(wait()) == 86_405
    assert time.monotonic() - began < 10


def test_waiting_for_what_never_comes_is_said() -> None:
    with pytest.raises(Stalled):
        SimulatedLoop().run_until_complete(asyncio.Event().wait())


def test_a_paused_process_stands_still_and_goes_on_where_it_was() -> None:
    loop = SimulatedLoop()
    seen: list[tuple[str, float]] = []

    async def tick(name: str) -> None:
        for _ in range(4):
            await asyncio.sleep(1)
            seen.append((name, loop.time()))

    async def world() -> None:
        one, other = Process(loop, "one"), Process(loop, "other")
        one.spawn(tick("one"))
        other.spawn(tick("other"))
        await asyncio.sleep(1.5)
        one.pause()
        await asyncio.sleep(5)
        one.resume()
        await asyncio.sleep(5)

    loop.run_until_complete(world())
    assert [at for name, at in seen if name == "other"] == [1, 2, 3, 4]
    assert [at for name, at in seen if name == "one"] == [1, 6.5, 7.5, 8.5]


@pytest.mark.parametrize("timers_first", [False, True])
def test_what_came_while_a_process_was_paused_comes_in_either_order(*, timers_first: bool) -> None:
    loop = SimulatedLoop()
    outcome: list[str] = []

    async def ask(answer: asyncio.Future[str]) -> None:
        loop.call_later(2, outcome.append, "timeout")
        outcome.append(await answer)

    async def world() -> None:
        process = Process(loop, "asks")
        answer: asyncio.Future[str] = loop.create_future()
        process.spawn(ask(answer))
        await asyncio.sleep(1)
        process.pause()
        loop.call_later(0.5, answer.set_result, "answer")
        await asyncio.sleep(9)
        process.resume(timers_first=timers_first)
        await asyncio.sleep(1)

    loop.run_until_complete(world())
    assert outcome == (["timeout", "answer"] if timers_first else ["answer", "timeout"])


def test_a_crashed_process_does_nothing_any_more_not_even_at_its_end() -> None:
    loop = SimulatedLoop()
    effects: list[str] = []

    async def child() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(1)
            effects.append("child")

    async def parent() -> None:
        task = asyncio.create_task(child())
        try:
            await asyncio.sleep(100)
        finally:
            asyncio.create_task(child())  # noqa: RUF006
            await asyncio.wait([task])
            effects.append("parent")

    async def world() -> None:
        process = Process(loop, "dies")
        process.spawn(parent())
        await asyncio.sleep(1)
        process.crash()
        await asyncio.sleep(1000)

    loop.run_until_complete(world())
    assert effects == []
