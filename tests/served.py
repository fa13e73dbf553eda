"""An application behind the engine's own server, in this process: what comes over a socket, as it does in earnest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from api.refusals import Refusals
from cli.http import ApiServer, config
from cli.limits import Limits
from cli.settings import Settings
from tests.ports import reserved_port
from tests.support import eventually

PLENTY = Limits(total=100, per_address=100, backlog=100)


@asynccontextmanager
async def served(app: Any, limits: Limits = PLENTY, **settings: Any) -> AsyncIterator[int]:
    """Give the port that it is served on."""
    port = reserved_port()
    own = Settings(host="127.0.0.1", port=port, **settings)
    server = ApiServer(config(app, limits, Refusals(), own), lambda: None)
    serving = asyncio.create_task(server.serve())
    try:
        await eventually(lambda: server.started or serving.done())
        assert not serving.done(), "the server did not start"
        yield port
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def connected(
    port: int, *, limit: int = 2**16
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Give a connection, closed at the end whatever became of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)
