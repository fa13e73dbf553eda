"""Hosting: every service is a FastStream application on one NATS connection, crash-only.

A service that loses its footing (an error, a connection closed for good) ends its process with a message; its
supervisor starts it again, and the log tells it where it was.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol

from faststream import AckPolicy, FastStream
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub

from bus.connection import Connection, connect
from bus.envelope import Entry
from bus.errors import Unavailable
from bus.log import Log
from bus.reading import entry_of
from bus.stream import Queue, consumer_config
from bus.subjects import STREAM
from bus.tasks import cancel_and_wait
from schemas.base import Value

log = logging.getLogger(__name__)

POLL = 1.0  # seconds that an idle slot waits in the server for one message


class Subscribe(Protocol):
    """Gives each message of a queue to a handler, so many at a time."""

    def __call__(self, queue: Queue, handler: Callable[[Delivery], Awaitable[None]], *, slots: int) -> None: ...


class Service(Protocol):
    """One service: `open` reads what it needs of the log and subscribes; `run` works until it is cancelled."""

    name: str

    async def open(self, log: Log, subscribe: Subscribe) -> None: ...

    async def run(self) -> None: ...


class Delivery(Value, frozen=True, kw_only=True):
    """A message from a queue: what it holds, which delivery of it this is (from 1), and the means to answer."""

    entry: Entry
    number: int
    message: NatsMessage


class _Broker(NatsBroker):
    """FastStream's broker on a connection of ours: its own gives up at the first refusal, and tells nobody."""

    def __init__(self, client: Connection) -> None:
        super().__init__(apply_types=False, logger=None, graceful_timeout=5.0, ack_policy=AckPolicy.MANUAL)
        self._client = client

    async def _connect(self) -> Connection:
        self.config.connect(self._client)
        return self._client


async def host(service: Service, nats_url: str, stop: asyncio.Event) -> None:
    """Run a service until `stop` is set. Raises what the service raised, or `Unavailable`."""
    lost = asyncio.Event()

    async def on_closed() -> None:
        lost.set()

    client = await connect(nats_url, service.name, on_closed=on_closed)
    broker = _Broker(client)
    await broker.connect()
    app = FastStream(broker, logger=None)
    try:
        await service.open(await Log.open(client), partial(subscribe, broker))
        await app.start()
        log.info("%s started", service.name, extra={"action": "service_started", "part": service.name})
        await _work(service, client, lost, stop)
    finally:
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


async def _work(service: Service, client: Connection, lost: asyncio.Event, stop: asyncio.Event) -> None:
    """Let a service work until it fails, the connection is lost, or it is to stop."""
    work = asyncio.create_task(service.run(), name=service.name)
    waits = [work, asyncio.create_task(lost.wait()), asyncio.create_task(stop.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        failure = work.exception() if work.done() else None
        if (reason := client.end) and not stop.is_set():
            raise Unavailable(f"the connection to NATS has ended: {reason}") from failure
        if failure:
            raise failure
    finally:
        await cancel_and_wait(*waits)


def subscribe(broker: NatsBroker, queue: Queue, handler: Callable[[Delivery], Awaitable[None]], *, slots: int) -> None:
    """Give each message of a queue to `handler`, `slots` at a time. The handler answers it: ack, nack with a delay.

    One subscriber per slot on the same durable consumer, each asking for one message when it is free: nothing is
    fetched ahead, so nothing waits here without a heartbeat.
    """

    async def decoder(message: NatsMessage) -> Delivery:
        metadata = message.raw_message.metadata
        return Delivery(entry=entry_of(message.raw_message), number=metadata.num_delivered, message=message)

    for _ in range(slots):
        broker.subscriber(
            "",
            stream=JStream(STREAM, declare=False),
            durable=queue.name,
            config=consumer_config(queue),
            pull_sub=PullSub(batch_size=1, timeout=POLL),
            ack_policy=AckPolicy.MANUAL,
            decoder=decoder,
        )(_slot(handler))


def _slot(handler: Callable[[Delivery], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
    async def handle(delivery: Any) -> None:
        await handler(delivery)

    return handle


async def host_all(services: Sequence[Service], nats_url: str, stop: asyncio.Event) -> None:
    """Host several services in one process; when one fails, all end. Raises the first failure."""
    tasks = [asyncio.create_task(host(service, nats_url, stop)) for service in services]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    stop.set()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
