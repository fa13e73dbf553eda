"""Hosting: every service is a FastStream application on one NATS connection, crash-only.

A service that loses its footing (an error, a connection closed for good) ends its process with a message; its
supervisor starts it again, and the log tells it where it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol, runtime_checkable

from faststream import AckPolicy, FastStream
from faststream.nats import NatsBroker

from bus.connection import Connection, connect
from bus.errors import LogError, Unavailable
from bus.log import Log
from bus.tasks import cancel_and_wait, unless
from services.consuming import Consumer, Handler, Queues
from services.heartbeat import UNSUPERVISED, Heartbeats, Process

log = logging.getLogger(__name__)

LEAVE = 1.0  # seconds that taking leave may last
PATIENCE = 10.0  # seconds in which the others of a process end after one has failed
SETTLING = 5.0  # seconds in which what is being handled is settled at the end


class Subscribe(Protocol):
    """Gives each message of some queues to a handler, so many at a time. Which queues, is asked again and again."""

    def __call__(self, queues: Queues, handler: Handler, *, slots: int) -> None: ...


class Service(Protocol):
    """One service: `open` reads what it needs of the log and subscribes; `run` works until it is cancelled.

    `reads`: the subject filters that it follows. `position`: the last sequence that it has read, once it is open.
    """

    name: str
    reads: Sequence[str]

    @property
    def position(self) -> int: ...

    async def open(self, log: Log, subscribe: Subscribe) -> None: ...

    async def run(self) -> None: ...


@runtime_checkable
class Preparing(Protocol):
    """A service that makes what the others wait for, before anything else."""

    async def prepare(self, log: Log) -> None: ...


@runtime_checkable
class Closing(Protocol):
    """A service that holds what has to be closed, however it ends: also when it was never opened, or never ran."""

    async def close(self) -> None: ...


class _Broker(NatsBroker):
    """FastStream's broker on a connection of ours: its own gives up at the first refusal, and tells nobody."""

    def __init__(self, client: Connection) -> None:
        super().__init__(apply_types=False, logger=None, graceful_timeout=5.0, ack_policy=AckPolicy.MANUAL)
        self._client = client

    async def _connect(self) -> Connection:
        self.config.connect(self._client)
        return self._client


async def host(
    service: Service,
    nats_url: str,
    stop: asyncio.Event,
    *,
    process: Process = UNSUPERVISED,
    on_start: Callable[[str], None] = lambda _: None,
) -> None:
    """Run a service until `stop` is set. Raises what the service raised, or `Unavailable`.

    It waits until the log is there, and what it subscribes to, which the set-up declares.

    `on_start` is called with its name when it has started.
    """
    lost = asyncio.Event()

    async def on_closed() -> None:
        lost.set()

    client = await connect(nats_url, service.name, user=service.name, on_closed=on_closed)
    broker = _Broker(client)
    await broker.connect()
    app = FastStream(broker, logger=None)
    consumers: list[Consumer] = []

    def subscribe(queues: Queues, handler: Handler, *, slots: int) -> None:
        consumers.append(Consumer(client, queues, handler, slots=slots))

    try:
        flows_log = Log(client)
        prepared = service.prepare(flows_log) if isinstance(service, Preparing) else flows_log.declared()
        await unless(stop, prepared)
        if stop.is_set():
            return
        heartbeats = Heartbeats(flows_log, service.name, service.reads, lambda: service.position, process)
        with suppress(Unavailable):
            await heartbeats.give()  # one that fails at its start, again and again, is seen too
        beating = asyncio.create_task(heartbeats.run(), name=f"heartbeats of {service.name}")
        try:
            await service.open(flows_log, subscribe)
            await unless(stop, flows_log.declared([queue for consumer in consumers for queue in consumer.queues()]))
            if stop.is_set():
                return
            await app.start()
            heartbeats.start()
            on_start(service.name)
            log.info("%s started", service.name, extra={"action": "service_started", "part": service.name})
            await _work(service, client, lost, stop, consumers, beating)
        finally:
            await cancel_and_wait(beating)
            if stop.is_set() and client.is_connected:
                with suppress(Unavailable, TimeoutError):
                    await asyncio.wait_for(heartbeats.leave(), LEAVE)
    except (LogError, asyncio.CancelledError) as failure:
        if client.denied is None or stop.is_set():
            raise
        raise Unavailable(client.denied) from failure
    finally:
        if isinstance(service, Closing):
            await asyncio.shield(service.close())
        await _stop(app, client)
        log.info("%s stopped", service.name, extra={"action": "service_stopped", "part": service.name})


async def _stop(app: FastStream, client: Connection) -> None:
    """Stop the framework. Without a connection it fails at taking leave of the server, and hides why it was stopped."""
    try:
        await app.stop()
    except Exception:
        if client.is_connected:
            raise
    finally:
        await client.close()


async def _work(
    service: Service,
    client: Connection,
    lost: asyncio.Event,
    stop: asyncio.Event,
    consumers: Sequence[Consumer],
    *helpers: asyncio.Task[None],
) -> None:
    """Let a service work until it or one of its helpers fails, the connection is lost, or it is to stop."""
    work = asyncio.create_task(service.run(), name=service.name)
    consuming = [asyncio.create_task(consumer.run()) for consumer in consumers]
    waits = [work, asyncio.create_task(lost.wait()), asyncio.create_task(stop.wait())]
    try:
        await asyncio.wait([*waits, *consuming, *helpers], return_when=asyncio.FIRST_COMPLETED)
        ended = [task for task in (work, *consuming, *helpers) if task.done() and not task.cancelled()]
        failures = (task.exception() for task in ended)
        failure = next((one for one in failures if one is not None), None)
        if (reason := client.end) and not stop.is_set():
            raise Unavailable(f"the connection to NATS has ended: {reason}") from failure
        if failure:
            raise failure
        if not stop.is_set():
            raise RuntimeError(f"the {service.name} has ended by itself, without an error")
    finally:
        await cancel_and_wait(*waits, *helpers)
        for consumer in consumers:
            consumer.close()
        if consuming:  # what the service has just stopped is settled still
            await asyncio.wait(consuming, timeout=SETTLING)
        await cancel_and_wait(*consuming)


async def host_all(
    services: Sequence[Service],
    nats_url: str,
    stop: asyncio.Event,
    *,
    process: Process = UNSUPERVISED,
    on_start: Callable[[str], None] = lambda _: None,
) -> None:
    """Host several services in one process; when one fails, all end.

    Raises the first failure, with a note that names the service.
    """

    async def hosted(service: Service) -> None:
        try:
            await host(service, nats_url, stop, process=process, on_start=on_start)
        except Exception as error:
            error.add_note(f"the {service.name} failed")
            raise

    await end_together([asyncio.create_task(hosted(service)) for service in services], stop)


async def end_together(tasks: Sequence[asyncio.Task[None]], stop: asyncio.Event) -> None:
    """Wait until a task ends, set `stop`, and wait for the others. Raises what the first one raised that failed.

    After a failure the others have `PATIENCE` seconds: one that does not end would keep the process from its restart.
    """
    first, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    failed = [task for task in first if task.cancelled() or task.exception()]
    stop.set()
    if others:
        await asyncio.wait(others, timeout=PATIENCE if failed else None)
        await cancel_and_wait(*others)
    for task in (*failed, *others):
        task.result()
