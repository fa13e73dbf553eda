"""A log on a real nats-server, and a simulated one, with what only an outsider or an operator can do to them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest
from nats.aio.client import Client

from bus.connection import connect
from bus.log import Log
from bus.server import Server as RealServer
from bus.setup import declare_at
from bus.stream import Queue, consumer_config
from bus.subjects import STREAM
from bus.tasks import cancel_and_wait
from services.consuming import Consumer, Delivery
from tests.servers import root, server_in
from tests.simulation.log import Link, SimulatedLog
from tests.simulation.server import Server
from tests.support import wait_until

QUEUE = Queue(name="work", filters=("flow.due.*",), ack_wait=1.0)
Handler = Callable[[Delivery], Awaitable[None]]


class Backend(Protocol):
    """A log, and what only an outsider or an operator can do to it."""

    log: Log

    async def another(self, *, reply_timeout: float = 5.0) -> Log: ...

    async def inject(self, subject: str, body: bytes) -> None: ...

    async def expire(self, sequence: int) -> None: ...

    async def make_queue(self) -> None: ...

    async def delete_queue(self) -> None: ...

    async def serve(self, handler: Handler) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class Real:
    """A nats-server."""

    def __init__(self, server: RealServer, client: Client, log: Log) -> None:
        self.log = log
        self._server = server
        self._client = client
        self.open: list[Client] = []
        self._consumers: list[tuple[Consumer, asyncio.Task[None]]] = []

    async def another(self, *, reply_timeout: float = 5.0) -> Log:
        client = await connect(root(self._server), "another")
        self.open.append(client)
        return Log(client, reply_timeout=reply_timeout)

    async def inject(self, subject: str, body: bytes) -> None:
        await self._client.jetstream().publish(subject, body)

    async def expire(self, sequence: int) -> None:
        await self._client.jsm().delete_msg(STREAM, sequence)

    async def make_queue(self) -> None:
        await self._client.jetstream().add_consumer(STREAM, consumer_config(QUEUE))

    async def delete_queue(self) -> None:
        await self._client.jetstream().delete_consumer(STREAM, QUEUE.name)

    async def serve(self, handler: Handler) -> None:
        client = await connect(root(self._server), "serve")
        consumer = Consumer(client, lambda: [QUEUE], handler, slots=1)
        self._consumers.append((consumer, asyncio.create_task(consumer.run())))
        self.open.append(client)

    def pause(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)
        stat = Path(f"/proc/{self._pid}/stat")  # the signal takes a moment: what is sent in it is replied to
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")

    def resume(self) -> None:
        os.kill(self._pid, signal.SIGCONT)

    @property
    def _pid(self) -> int:
        assert self._server._process is not None
        return self._server._process.pid

    async def close(self) -> None:
        for consumer, task in self._consumers:
            consumer.close()
            await cancel_and_wait(task)
        for one in self.open:
            await one.close()


class Simulated:
    """The simulated server, on the test's own loop."""

    def __init__(self) -> None:
        self._server = Server()
        self.log: Log = self._log()
        self._tasks: list[asyncio.Task[None]] = []

    def _log(self, *, reply_timeout: float = 5.0) -> SimulatedLog:
        return SimulatedLog(Link(self._server, random.Random(1)), reply_timeout=reply_timeout)

    async def another(self, *, reply_timeout: float = 5.0) -> Log:
        return self._log(reply_timeout=reply_timeout)

    async def inject(self, subject: str, body: bytes) -> None:
        self._server.store([(subject, body, {})])

    async def expire(self, sequence: int) -> None:
        self._server.expire(sequence)

    async def make_queue(self) -> None:
        self._server.consumer(QUEUE)

    async def delete_queue(self) -> None:
        self._server.delete_consumer(QUEUE.name)

    async def serve(self, handler: Handler) -> None:
        log = self._log()

        async def slot() -> None:
            while True:
                await handler(await log.take(QUEUE))

        self._tasks.append(asyncio.create_task(slot()))

    def pause(self) -> None:
        self._server.pause()

    def resume(self) -> None:
        self._server.resume()

    async def close(self) -> None:
        await cancel_and_wait(*self._tasks)


@asynccontextmanager
async def _real(folder: Path) -> AsyncIterator[Real]:
    server = server_in(folder)
    server.start()
    client = await connect(root(server), "test")
    await declare_at(server.url)
    backend = Real(server, client, Log(client))
    try:
        yield backend
    finally:
        await backend.close()
        await client.close()
        server.stop()


@pytest.fixture(params=[pytest.param("real", marks=pytest.mark.server), "simulated"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    if request.param == "real":
        async with _real(tmp_path / "nats") as found:
            yield found
    else:
        simulated = Simulated()
        yield simulated
        await simulated.close()
