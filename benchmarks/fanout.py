"""What a worker reads for each backup that it does, beside 0, 4, 19 and 49 others, and what a bare queue costs instead.

    python -m benchmarks fanout

Workers are in this process, each on a connection of its own, with an engine that has its result at once. What is read
is what their clients count from when all have started, signs of life and status included: those come by the second, so
a run that takes longer, as many share one server, has more of them for each backup. The bare queue is nats-py
alone: fetch a message, publish that it has begun and ended, acknowledge.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from unittest.mock import patch

from nats.aio.client import Client

from benchmarks.history import requested
from bus.clock import now
from bus.connection import Connection, connect
from bus.envelope import envelope
from bus.errors import Unavailable
from bus.log import Log
from bus.server import Server
from bus.setup import declare_at
from bus.stream import WORKER_QUEUE
from bus.subjects import STREAM, id_of
from schemas.base import Value
from schemas.events import BackupRequested
from services import hosting
from services.hosting import host
from services.worker.app import Worker
from services.worker.engines.engine import Report, Result
from tests.servers import root, server_in

WORKERS = (1, 5, 20, 50)
EACH = 40  # backups for each worker
SLOTS = 4
SETTLE = 15.0  # seconds in which workers have begun, and have looked once whose status is out of date
DONE = "backup.completed.>"


class Reading(Value, frozen=True, kw_only=True):
    """What was read for each backup, by all workers together, and how many backups a second were done."""

    messages: float
    bytes: float
    rate: float


Running = Callable[[Server, int], AbstractAsyncContextManager[list[Client]]]


class _Nothing:
    """An engine that has a result at once."""

    async def backup(self, request: BackupRequested, attempt: int, report: Report) -> Result:
        del request, attempt, report
        return Result(bytes_read=0, bytes_transferred=0, snapshot_ref="nothing")

    async def discard(self, request: BackupRequested, *, keep: str | None) -> None: ...


async def fanout() -> dict[int, tuple[Reading, Reading]]:
    """Return for each number of workers what they read, and what those of a bare queue do."""
    return {count: (await _measured(count, _flows), await _measured(count, _bare)) for count in WORKERS}


async def _measured(count: int, running: Running) -> Reading:
    """Have workers do their part of a queue on a server of its own."""
    with tempfile.TemporaryDirectory() as name:
        server = server_in(Path(name) / "data")
        server.start()
        client = await connect(root(server), "bench")
        try:
            await declare_at(server.url)
            log = Log(client)
            async with running(server, count) as clients:
                await asyncio.sleep(SETTLE)
                before = _read(clients)
                begun = time.perf_counter()
                await asyncio.gather(*(_request(log, number) for number in range(count * EACH)))
                await _done(log, count * EACH)
                seconds = time.perf_counter() - begun
                after = _read(clients)
        finally:
            await client.close()
            server.stop()
    backups = count * EACH
    messages, bytes_ = ((late - early) / backups for early, late in zip(before, after, strict=True))
    return Reading(messages=messages, bytes=bytes_, rate=backups / seconds)


def _read(clients: Sequence[Client]) -> tuple[int, int]:
    """Return how many messages and bytes these have read."""
    return sum(one.stats["in_msgs"] for one in clients), sum(one.stats["in_bytes"] for one in clients)


@asynccontextmanager
async def _flows(server: Server, count: int) -> AsyncIterator[list[Client]]:
    """Run workers, and give their connections."""
    clients: list[Client] = []

    async def counted(url: str, name: str, *, user: str, on_closed: Callable[[], Awaitable[None]]) -> Connection:
        client = await connect(url, name, user=user, on_closed=on_closed)
        clients.append(client)
        return client

    stop = asyncio.Event()
    started: asyncio.Queue[str] = asyncio.Queue()
    with patch.object(hosting, "connect", counted):
        workers = [
            Worker(slots=SLOTS, engines={"simulated": _Nothing()}, worker_id=f"worker-{number}")  # type: ignore[dict-item]
            for number in range(count)
        ]
        tasks = [asyncio.create_task(host(one, server.url, stop, on_start=started.put_nowait)) for one in workers]
        for _ in workers:
            await started.get()
    yield clients
    stop.set()
    await asyncio.gather(*tasks)


@asynccontextmanager
async def _bare(server: Server, count: int) -> AsyncIterator[list[Client]]:
    """Run workers of a bare queue, and give their connections."""

    async def slot(client: Client) -> None:
        js = client.jetstream()
        subscription = await js.pull_subscribe_bind(WORKER_QUEUE.name, STREAM)
        while True:
            try:
                (message,) = await subscription.fetch(1, timeout=1)
            except TimeoutError:
                continue
            vm = str(message.metadata.sequence.stream)
            await js.publish(f"backup.started.f.{vm}", message.data)
            await js.publish(f"backup.completed.f.{vm}", message.data)
            await message.ack_sync()

    clients = [await connect(root(server), f"bare-{number}") for number in range(count)]
    tasks = [asyncio.create_task(slot(client)) for client in clients for _ in range(SLOTS)]
    yield list(clients)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for client in clients:
        await client.close()


async def _done(log: Log, count: int) -> None:
    """Wait until so many backups have ended."""
    seen = 0
    async for batch in log.follow([DONE], after=0):
        seen += len(batch.entries)
        if seen >= count:
            return
    raise Unavailable("the log has ended")


async def _request(log: Log, number: int) -> None:
    about = {"backup_id": f"backup-{number}", "context_id": f"vm-{number}"}
    request = requested(now(), flow_id="f", execution_id="e", **about)
    await log.publish_once(envelope(request, id=id_of(request), source="bench", time=now()))
