"""Rebuild: fill an empty database from the log, as the recorder would have."""

from __future__ import annotations

from collections.abc import AsyncIterator

from bus.log import Log
from services.recorder.store import Tables, position_on

TOGETHER = 5_000  # messages in one transaction


async def rebuild(log: Log, url: str) -> AsyncIterator[tuple[int, int]]:
    """Project the log into a database, from where that is; yield (position, last sequence of the log) now and then.

    It ends where the log ended when it began; a recorder goes on from there. Raises `WrongRevision`, `ForeignStream`.
    """
    store = Tables(url)
    try:
        position, stream = await position_on(log, store)
        async for entries in log.pages(after=position, until=stream.last_sequence, size=TOGETHER):
            await store.apply(entries, stream)
            position = entries[-1].sequence
            yield position, stream.last_sequence
    finally:
        await store.close()
