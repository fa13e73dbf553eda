"""What is costly is made once for all who ask, and not again before it is old."""

from __future__ import annotations

import asyncio

import pytest

from api.cached import Cached
from tests.support import eventually


class Maker:
    """Makes 1, 2, 3 …, each once it may."""

    def __init__(self) -> None:
        self.made = 0
        self.may = asyncio.Event()

    async def __call__(self) -> int:
        self.made += 1
        made = self.made
        await self.may.wait()
        return made


async def test_all_who_ask_at_the_same_time_get_the_same() -> None:
    make = Maker()
    cached = Cached(make, seconds=60, times=1)
    asking = [asyncio.create_task(cached.get()) for _ in range(50)]
    await asyncio.sleep(0)
    make.may.set()
    assert await asyncio.gather(*asking) == [1] * 50
    assert await cached.get() == 1


async def test_it_is_made_anew_when_it_is_old() -> None:
    make = Maker()
    make.may.set()
    cached = Cached(make, seconds=0.05, times=1)
    assert await cached.get() == 1
    await eventually(lambda: _is(cached, 2))


async def _is(cached: Cached[int], value: int) -> bool:
    return await cached.get() == value


async def test_what_takes_long_is_kept_long() -> None:
    make = Maker()
    cached = Cached(make, seconds=0, times=1_000)
    asking = asyncio.create_task(cached.get())
    await asyncio.sleep(0.1)  # not a wait: how long it takes
    make.may.set()
    assert await asking == 1
    await asyncio.sleep(0.2)  # not a wait: for so long it is kept, and for longer
    assert await cached.get() == 1


async def test_one_who_goes_away_does_not_take_it_from_the_others() -> None:
    make = Maker()
    cached = Cached(make, seconds=60, times=1)
    first, second = (asyncio.create_task(cached.get()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    make.may.set()
    assert await second == 1


async def test_a_failure_reaches_all_and_is_not_kept() -> None:
    failures = [RuntimeError("once")]

    async def make() -> int:
        await asyncio.sleep(0)
        if failures:
            raise failures.pop()
        return 7

    cached = Cached(make, seconds=60, times=1)
    found = await asyncio.gather(*(cached.get() for _ in range(3)), return_exceptions=True)
    assert [str(one) for one in found] == ["once"] * 3
    assert await cached.get() == 7


async def test_nothing_is_left_of_it_at_the_end() -> None:
    make = Maker()
    cached = Cached(make, seconds=60, times=1)
    await cached.close()
    asking = asyncio.create_task(cached.get())
    await asyncio.sleep(0)
    await cached.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
