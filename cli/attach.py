"""The log, for as long as a command needs it: of an engine that runs, or of the data folder of one that does not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from bus.connection import connect
from bus.errors import LogError, Unavailable
from bus.log import Log
from bus.server import Server, in_use
from cli import places
from schemas.base import Value


class Address(Value, frozen=True, kw_only=True):
    """Where a log is. `stopped`: its engine does not run, and a server is there for who reads, and only meanwhile."""

    url: str
    stopped: bool = False


@contextmanager
def reading(data: Path | None) -> Iterator[Address]:
    """Yield where the log is: by the environment, or in a data folder, whose server is started when none runs.

    Nothing can be appended through that one. Raises `ValueError` when there is no log, `FolderInUse` or `ServerError`.
    """
    folder = data or places.DEFAULT_DATA
    if (data is None and os.environ.get("FLOWS_NATS_URL")) or in_use(folder) or not (folder / "jetstream").is_dir():
        yield Address(url=places.nats_url(data))
        return
    server = Server(folder, program=os.environ.get("FLOWS_NATS_SERVER"), mode="reading")
    try:
        server.start()
        yield Address(url=server.url, stopped=True)
    finally:
        server.stop()


@asynccontextmanager
async def attached(url: str, name: str, *, user: str | None = None) -> AsyncIterator[Log]:
    """Yield the log at `url`. Raises `LogError` when no server is there, or it holds no log, or does not permit it.

    `user`: as whom; as the operator when it is None.
    """
    client = await connect(url, name, user=user)
    try:
        log = Log(client)
        await log.identity()  # a follower would wait for a log that comes
        yield log
    except (LogError, asyncio.CancelledError) as error:
        if client.denied is None:
            raise
        raise Unavailable(client.denied) from error
    finally:
        await client.close()
