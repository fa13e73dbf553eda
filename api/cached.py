"""A value that is costly to make: made once for all who ask at the same time, and kept for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Cached(Generic[T]):
    """Keeps what `make` returned for `seconds`, or for `times` as long as making it took, whichever is longer.

    So what asks for it takes at most one part in `times` of the machine, however much there is to count.
    """

    def __init__(self, make: Callable[[], Awaitable[T]], *, seconds: float, times: float) -> None:
        self._make = make
        self._seconds = seconds
        self._times = times
        self._made: asyncio.Task[T] | None = None
        self._until = 0.0  # when what was made is too old, by the event loop's clock

    async def get(self) -> T:
        """Return the value. Raises what making it raised; that is not kept."""
        loop = asyncio.get_running_loop()
        made = self._made
        if made is None or (made.done() and (loop.time() >= self._until or _failed(made))):
            made = self._made = loop.create_task(self._timed())
        return await asyncio.shield(made)  # one who goes away does not take it from the others

    async def _timed(self) -> T:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        value = await self._make()
        self._until = loop.time() + max(self._seconds, self._times * (loop.time() - begun))
        return value

    async def close(self) -> None:
        """Stop making it."""
        if self._made is not None and not self._made.done():
            self._made.cancel()
            await asyncio.wait([self._made])


def _failed(task: asyncio.Task[T]) -> bool:
    return task.cancelled() or task.exception() is not None
