"""The simulated log: `bus.log.Log` itself, over a simulated network in place of a connection.

Guards on the right message, group commit, and a follower that begins again where it was, are the real code. Only what
crosses the network is replaced: how a batch is published, what a consumer delivers, and the questions to the server.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextvars import copy_context
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from nats.errors import TimeoutError as NatsTimeout
from nats.js import api

from bus import appending, reading
from bus import log as real
from bus.checkpoint import Checkpoint, Status
from bus.envelope import Entry
from bus.errors import LogError, TooLarge, Unavailable, Unknown
from bus.stream import Queue
from services.consuming import Delivery
from tests.simulation.loop import Process, current
from tests.simulation.server import POLL, Headers, Server, Waiter

T = TypeVar("T")

MAX_PAYLOAD = 8 << 20
CREATED = "2026-11-01T00:00:00+00:00"
SLOW = 0.02  # of all messages on the network


class Link:
    """One process's connection: how long its messages take, and what becomes of them."""

    def __init__(self, server: Server, rng: random.Random, *, slowness: float = 1.0) -> None:
        self.server = server
        self.rng = rng
        self.slowness = slowness
        self.cut = False  # nothing gets through
        self.noticed = False  # and the client knows it
        self.blind_until = 0.0  # no follower hears anything before
        self.published = 0  # how many times something was published
        self.loss = 0.0  # how often a message on its way is lost
        self._there = 0.0  # what was sent earlier arrives earlier, both ways
        self._back = 0.0

    @property
    def connected(self) -> bool:
        return not (self.cut and self.noticed)

    def delay(self) -> float:
        """Return how long one message takes."""
        chance = self.rng.random()
        seconds = (0.0002 + 0.002 * chance) * self.slowness
        if chance > 1 - SLOW:
            seconds += 0.5 * self.rng.random()
        return seconds

    def there(self) -> float:
        """Return after how long a message that is sent now arrives at the server."""
        now = self.server.time()
        self._there = max(self._there, now + self.delay())
        return self._there - now

    def back(self) -> float:
        now = self.server.time()
        self._back = max(self._back, now + self.delay())
        return self._back - now


class Loss:
    """What becomes of one publish: `sent` (it reaches the server), `late` (so many seconds after), `answered`."""

    def __init__(self, *, refused: bool = False, sent: bool = True, late: float = 0.0, answered: bool = True) -> None:
        self.refused = refused
        self.sent = sent
        self.late = late
        self.answered = answered


NO_LOSS = Loss()
Meddle = Callable[["SimulatedLog", str], Awaitable[Loss]]


async def _leave_alone(_: SimulatedLog, __: str) -> Loss:
    return NO_LOSS


class _Client:
    """The little that the real log asks of its connection directly."""

    max_payload = MAX_PAYLOAD
    is_closed = False

    def __init__(self, link: Link) -> None:
        self._link = link

    @property
    def is_connected(self) -> bool:
        return self._link.connected


class SimulatedLog(real.Log):
    """The log, as one process has it."""

    def __init__(
        self,
        link: Link,
        *,
        reply_timeout: float = real.REPLY_TIMEOUT,
        meddle: Meddle = _leave_alone,
        process: Process | None = None,
    ) -> None:
        nothing: Any = None  # JetStream's own client is never asked
        appending.Appender.__init__(self, _Client(link), nothing, reply_timeout)  # type: ignore[arg-type]
        reading.LogReader.__init__(self, self._client, nothing)
        self.link = link
        self._server = link.server
        self._meddle = meddle
        self._process = process or current()
        self._context = copy_context()

    # --- the network ------------------------------------------------------------------------------------------------

    async def _call(self, work: Callable[[], T], loss: Loss = NO_LOSS) -> T:
        """Have the server do something and return its word. Raises `TimeoutError`, and what `work` raises."""
        link, server = self.link, self._server
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def answer(set_: Callable[[Any], None], value: Any) -> None:
            if loss.answered and not link.cut and not (link.loss and link.rng.random() < link.loss):
                loop.call_later(link.back(), _give, set_, value, future, context=self._context)

        def do() -> None:
            try:
                result = work()
            except LogError as error:
                answer(future.set_exception, error)
            else:
                answer(future.set_result, result)

        if loss.sent and not link.cut and not (link.loss and link.rng.random() < link.loss):
            # what is late overtakes nothing, and is overtaken: it comes by another way
            delay = loss.late + link.delay() if loss.late else link.there()
            server.later(delay, server.receive, do)
        timer = loop.call_later(self._timeout, _expire, future)
        try:
            return await future
        finally:
            timer.cancel()

    async def _question(self, work: Callable[[], T]) -> T:
        if not self.link.connected:
            raise Unavailable("not connected to NATS")
        try:
            return await self._call(work)
        except TimeoutError as error:
            raise Unavailable("the log does not answer") from error

    # --- what is replaced of the real log -----------------------------------------------------------------------------

    async def _publish(self, messages: list[tuple[str, bytes, dict[str, str]]]) -> int:
        for subject, body, _ in messages:
            if len(body) > MAX_PAYLOAD - appending.HEADERS_SIZE:
                raise TooLarge(f"a message for {subject} has {len(body):,} bytes")
        self.link.published += 1
        loss = await self._meddle(self, messages[0][0])
        if loss.refused or not self.link.connected:
            raise Unavailable("not connected to NATS")
        posts: list[tuple[str, bytes, Headers]] = list(messages)
        try:
            return await self._call(lambda: self._server.store(posts), loss)
        except TimeoutError as error:
            raise Unknown(f"NATS gave no answer for {messages[-1][0]}") from error

    async def _consume(
        self, subjects: Sequence[str], policy: api.DeliverPolicy, *, after: int, fetch: int = reading.FETCH
    ) -> AsyncIterator[reading.Page]:
        del fetch  # how much is asked for at once changes nothing but the cost
        server, link = self._server, self.link
        loop = asyncio.get_running_loop()
        generation = server.generation
        latest = policy is api.DeliverPolicy.LAST_PER_SUBJECT
        position = after
        if not link.connected:
            raise TimeoutError
        selected = await self._call(lambda: server.selected(subjects))
        if latest:
            found = await self._call(lambda: _latest(server, selected.sequences))
            yield reading.Page(entries=found, position=found[-1].sequence if found else 0, caught_up=True)
            return
        first = True
        while True:
            if server.generation != generation:
                await asyncio.sleep(reading.IDLE * link.rng.random())  # the fetch that was under way waits out its time
                raise TimeoutError  # the consumer is gone
            now = server.time()
            if link.cut or link.blind_until > now or server.down:
                # what is on its way waits; a server that is paused, or cannot be reached, says nothing
                await asyncio.sleep(max(link.blind_until - now, 0.0) or 1.0)
                continue
            start = selected.after(position)
            sequences = selected.sequences
            if start < len(sequences) or first:
                # in most cases all there is; now and then a fetch ends in the middle
                most = reading.FETCH if link.rng.random() < 0.8 else 1 + int(4 * link.rng.random())
                end = min(start + most, len(sequences))
                entries = [entry for seq in sequences[start:end] if (entry := server.entry(seq)) is not None]
                before, position = position, sequences[end - 1] if end > start else position
                batch = reading.Page(entries=entries, position=position, caught_up=end >= len(sequences))
                first = False
                await asyncio.sleep(link.back())
                if link.cut or link.blind_until > server.time():
                    position = before  # it did not arrive
                    continue
                yield batch
                continue
            woken = loop.create_future()
            selected.waiting.append(lambda woken=woken: woken.done() or woken.set_result(None))
            await woken

    async def identity(self) -> real.Identity:
        return await self._question(lambda: real.Identity(created=CREATED, last_sequence=self._server.last))

    async def last_sequence(self, subject: str) -> int:
        return await self._question(lambda: self._server.last_on(subject))

    async def last(self, subject: str) -> Entry | None:
        server = self._server

        def found() -> Entry | None:
            place = server.last_on(subject)
            return server.entry(place) if place else None

        return await self._question(found)

    async def after(self, subject: str, position: int) -> list[Entry]:
        server = self._server

        def found() -> list[Entry]:
            selected = server.selected((subject,))
            places = selected.sequences[selected.after(position) :]
            return [entry for sequence in places if (entry := server.entry(sequence)) is not None]

        return await self._question(found)

    async def queue(self, queue: Queue) -> real.QueueState:
        consumer = self._server.consumer(queue)
        return await self._question(
            lambda: real.QueueState(
                acknowledged=consumer.acknowledged,
                delivered=consumer.delivered,
                pending=consumer.pending,
                listeners=len(consumer.waiting),
            )
        )

    async def time(self) -> datetime:
        return await self._question(self._server.now)

    async def respond(self, subject: str, handler: Any) -> None:
        """Let nobody ask: there is no API here."""

    async def put_status(self, key: str, value: dict[str, Any]) -> None:
        def put() -> None:
            self._server.statuses[key] = Status(value=value, at=self._server.now())

        await self._question(put)

    async def get_status(self, key: str) -> Status | None:
        return await self._question(lambda: self._server.statuses.get(key))

    async def delete_status(self, key: str) -> None:
        await self._question(lambda: self._server.statuses.pop(key, None))

    async def statuses(self, prefix: str) -> dict[str, Status]:
        statuses = self._server.statuses
        return await self._question(lambda: {key: status for key, status in statuses.items() if key.startswith(prefix)})

    async def checkpoint(self, service: str) -> Checkpoint:
        none = Checkpoint(created=CREATED, position=0)
        return await self._question(lambda: self._server.checkpoints.get(service, none))

    async def save_checkpoint(self, service: str, position: int, *, processed: int = 0) -> None:
        found = Checkpoint(created=CREATED, position=position, processed=processed)
        await self._question(lambda: self._server.checkpoints.__setitem__(service, found))

    async def checkpoint_part(self, service: str, number: int) -> bytes:
        return await self._question(lambda: self._server.parts.get((service, number), b""))

    async def save_checkpoint_part(self, service: str, number: int, data: bytes) -> None:
        await self._question(lambda: self._server.parts.__setitem__((service, number), data))

    async def pages(self, *, after: int, until: int, size: int) -> AsyncIterator[list[Entry]]:
        entries = await self.read([">"], after=after, until=until)
        for start in range(0, len(entries), size):
            yield entries[start : start + size]

    # --- queues -------------------------------------------------------------------------------------------------------

    async def take(self, queue: Queue) -> Delivery:
        """Wait for one message of a queue, as one slot does."""
        loop = asyncio.get_running_loop()
        link, server, process = self.link, self._server, self._process
        future: asyncio.Future[tuple[int, int]] = loop.create_future()

        def take(sequence: int, number: int) -> None:
            if not link.cut:
                loop.call_later(
                    link.back(), _give, future.set_result, (sequence, number), future, context=self._context
                )

        def alive() -> bool:
            """Tell whether the server thinks that somebody is there: also for a second after a process stands still."""
            if process is not None and (process.dead or link.cut):
                return False
            since = None if process is None else process.paused_since
            return not future.done() and (since is None or loop.time() - since < POLL)

        generation = -1
        waiter: Waiter | None = None
        while True:
            consumer = server.consumer(queue)
            if generation != server.generation or waiter not in consumer.waiting:
                generation = server.generation
                waiter = Waiter(take, alive)
                self.tell(partial(_ask, server, queue, waiter))
            done, _ = await asyncio.wait([future], timeout=30 * POLL)
            if done:
                break
        sequence, number = future.result()
        entry = server.entry(sequence)
        if entry is None:
            return await self.take(queue)
        message: Any = Message(self, queue, sequence)
        return Delivery(entry=entry, number=number, message=message, lease=queue.ack_wait)

    def tell(self, work: Callable[[], None]) -> None:
        """Have the server do something, and wait for no answer."""
        link = self.link
        if not link.cut and not (link.loss and link.rng.random() < link.loss):
            self._server.later(link.there(), self._server.receive, work)


class Message:
    """The means to answer a delivery."""

    def __init__(self, log: SimulatedLog, queue: Queue, sequence: int) -> None:
        self._log = log
        self._queue = queue
        self._sequence = sequence

    async def ack_sync(self) -> None:
        try:
            await self._log._call(lambda: self._consumer.acknowledge(self._sequence))
        except TimeoutError as error:
            raise NatsTimeout from error

    async def nack(self, delay: float = 0.0) -> None:
        self._log.tell(lambda: self._consumer.postpone(self._sequence, delay))

    async def in_progress(self) -> None:
        self._log.tell(lambda: self._consumer.postpone(self._sequence, self._queue.ack_wait))

    @property
    def _consumer(self) -> Any:
        return self._log._server.consumer(self._queue)


def _ask(server: Server, queue: Queue, waiter: Waiter) -> None:
    server.consumer(queue).ask(waiter)


def _latest(server: Server, sequences: Sequence[int]) -> list[Entry]:
    last: dict[str, Entry] = {}
    for sequence in sequences:
        entry = server.entry(sequence)
        if entry is not None:
            last[entry.subject] = entry
    return sorted(last.values(), key=lambda entry: entry.sequence)


def _give(set_: Callable[[Any], None], value: Any, future: asyncio.Future[Any]) -> None:
    if not future.done():
        set_(value)


def _expire(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())
