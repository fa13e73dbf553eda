"""The log, for as long as a command needs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bus.connection import connect
from bus.log import Log


@asynccontextmanager
async def attached(url: str, name: str) -> AsyncIterator[Log]:
    """Yield the log at `url`. Raises `LogError` when no server is there, or it holds no log."""
    client = await connect(url, name)
    try:
        log = Log(client)
        await log.identity()  # a follower would wait for a log that comes
        yield log
    finally:
        await client.close()
