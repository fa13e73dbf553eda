"""Uvicorn, as one part of a process among others."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import uvicorn

from api.refusals import Refusals
from bus.clock import now
from cli import connections, parts, tls
from cli.connections import Connection
from cli.contexts import CERTIFICATE_FILE, URL_FILE
from cli.limits import ConnectionLimiter, Limits, descriptors, limits_of
from cli.settings import Settings
from services.heartbeat import Process

log = logging.getLogger(__name__)


class ApiServer(uvicorn.Server):
    """Uvicorn, with signals left to the process, and our own line when it listens; `on_start` is called then."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start

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
            self._on_start()


def config(app: Any, limits: Limits, refusals: Refusals, settings: Settings) -> uvicorn.Config:
    """Return the server's settings: an application behind connections with limits, and TLS when there are files for it.

    What a client says in forwarded headers of itself, or of others, counts only when it is one of the proxies. Raises
    `ValueError` for files that cannot serve.
    """
    context = None if settings.tls_cert is None else tls.context(settings)
    limiter: ConnectionLimiter[Connection] = ConnectionLimiter(limits)
    return uvicorn.Config(
        app,
        http=partial(Connection, limiter, refusals),  # type: ignore[arg-type]  # it makes one, as the class would
        ws="none",
        host=settings.host,
        port=settings.port,
        ssl_context_factory=None if context is None else lambda *_: context,
        proxy_headers=settings.behind_proxy,
        forwarded_allow_ips=list(settings.proxies),
        log_config=None,
        access_log=False,
        backlog=limits.backlog,
        timeout_keep_alive=connections.IDLE_SECONDS,
        timeout_graceful_shutdown=5,
        lifespan="on",
        server_header=False,
    )


async def serve_api(settings: Settings, process: Process, stop: asyncio.Event, on_start: Callable[[str], None]) -> None:
    """Serve the API until `stop` is set. Raises `RuntimeError` when it does not start, or ends by itself.

    `on_start` is called with "api" when it listens.
    """
    tls.check(settings, now())
    lost, stopping = asyncio.Event(), asyncio.Event()

    async def on_lost() -> None:
        if not stop.is_set():
            lost.set()

    # what clients do wrong is reported by `Refusals`, and not in as many lines as they like
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    limits = limits_of(descriptors())
    app = parts.api(settings, process, on_lost=on_lost, stopping=stopping, most_streams=limits.total // 2)

    def listening() -> None:
        _tell(settings)
        on_start("api")

    server = ApiServer(config(app, limits, app.state.refusals, settings), listening)
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


def _tell(settings: Settings) -> None:
    """Write the API's address and certificate to the engine's data folder, where the commands of this machine look."""
    if settings.data_folder is not None and settings.data_folder.is_dir():
        (settings.data_folder / URL_FILE).write_text(f"{settings.own_url}\n")
        certificate = settings.data_folder / CERTIFICATE_FILE
        if settings.tls_cert is None:
            certificate.unlink(missing_ok=True)
        else:
            certificate.write_bytes(settings.tls_cert.read_bytes())
