"""Uvicorn, as one part of a process among others."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import cast

import uvicorn

from cli import parts
from cli.connections import IDLE_SECONDS, Connection
from cli.limits import ConnectionLimiter, descriptors, limits_of
from cli.settings import Settings

log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """Uvicorn, with signals left to whoever runs it, and our own line when it listens."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:  # once a second
            for connection in list(self.server_state.connections):
                cast("Connection", connection).check()
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            about = {"action": "api_started", "host": self.config.host, "port": self.config.port}
            log.info("the API listens on %s port %d", self.config.host, self.config.port, extra=about)


async def serve_api(settings: Settings, stop: asyncio.Event) -> None:
    """Serve the API until `stop` is set. Raises `RuntimeError` when it does not start, or ends by itself."""
    lost, stopping = asyncio.Event(), asyncio.Event()

    async def on_lost() -> None:
        if not stop.is_set():
            lost.set()

    # what clients do wrong is told by `Refusals`, at most once a second for each
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    limits = limits_of(descriptors())
    app = parts.api(settings, on_lost=on_lost, stopping=stopping, most_streams=max(1, limits.total // 2))
    limiter: ConnectionLimiter[Connection] = ConnectionLimiter(limits)
    config = uvicorn.Config(
        app,
        http=partial(Connection, limiter, app.state.refusals),  # type: ignore[arg-type]  # it makes one
        ws="none",
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        backlog=limits.backlog,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=5,
        lifespan="on",
        server_header=False,
    )
    server = Server(config)
    serving = asyncio.create_task(server.serve())
    waits = [serving, asyncio.create_task(stop.wait()), asyncio.create_task(lost.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    stopping.set()
    server.should_exit = True
    await serving
    for task in waits[1:]:
        task.cancel()
    if lost.is_set() and not stop.is_set():
        raise RuntimeError("the connection to the log is closed for good: the lines above say why")
    if not stop.is_set():
        raise RuntimeError("the API did not start, or ended by itself: the lines above say why")
