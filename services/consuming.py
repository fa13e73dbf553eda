"""Consuming queues: a slot takes one message at a time, from whichever queue has its turn, and settles it.

The server takes an acknowledgement of a message from anybody who ever had it, for whoever has it now (ADR 13). So
a delivery knows whether it may still be settled, and a handler that has lost its work abandons it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Protocol

from bus.connection import Connection
from bus.envelope import Entry
from bus.errors import Unavailable
from bus.pulling import Puller
from bus.reading import entry_of
from bus.refusals import SILENCE
from bus.stream import Queue
from bus.tasks import cancel_and_wait
from schemas.base import Value

log = logging.getLogger(__name__)

POLL = 1.0  # seconds that an idle slot waits in the server for one message
PAUSE = 1.0  # seconds until a slot asks again after a queue did not respond
RETRY_DELAY = 2.0  # seconds before a message comes again whose handler has not said when


class Ack(Value, frozen=True, kw_only=True):
    """The work is done: acknowledge the message, and have the server confirm that."""


class Nack(Value, frozen=True, kw_only=True):
    """The message is to come again, here or elsewhere, after `delay` seconds (None: after `RETRY_DELAY`)."""

    delay: float | None = None


Outcome = Ack | Nack | None
"""What a handler wants to become of its message. None: somebody else settles it, or nobody, and it comes again."""


class Settled(Protocol):
    """A message that can be settled."""

    async def ack_sync(self) -> None: ...
    async def nack(self, delay: float) -> None: ...
    async def in_progress(self) -> None: ...


class Delivery:
    """A message from a queue: what it holds, which delivery of it this is (from 1), and the means to settle it.

    It is its receiver's for `lease` seconds after it came or was last extended.
    """

    def __init__(self, *, entry: Entry, number: int, message: Settled, lease: float) -> None:
        self.entry = entry
        self.number = number
        self.message = message
        self.abandoned = False
        self._messages = {entry.sequence: message}  # by place on the log: the newest delivery of each
        self.lease = lease
        self._extended = _loop_time()

    @property
    def expired(self) -> bool:
        """Whether nothing was heard from here for so long that the server may have given the message away."""
        return _loop_time() - self._extended > self.lease

    def join(self, other: Delivery) -> None:
        """Settle another delivery together with this one: of the same message, or of one about the same work."""
        self._messages |= other._messages

    def abandon(self) -> None:
        """Leave the message to whoever has it now: from here on nothing is sent about it."""
        self.abandoned = True

    async def extend(self) -> None:
        """Tell the server that the work goes on. Ask the log first whether it is still yours when it has `expired`."""
        for message in list(self._messages.values()):
            await message.in_progress()
        self._extended = _loop_time()

    async def settle(self, outcome: Outcome) -> None:
        """Acknowledge the message, or send it back. One that has expired comes again by itself, and is not sent back.

        Raises what the client raises when the server does not answer.
        """
        if self.abandoned or outcome is None or (isinstance(outcome, Nack) and self.expired):
            return
        while self._messages:
            _, message = self._messages.popitem()
            if isinstance(outcome, Ack):
                await message.ack_sync()
            else:
                await message.nack(delay=RETRY_DELAY if outcome.delay is None else outcome.delay)


Handler = Callable[[Delivery], Awaitable[Outcome]]


async def consume(handler: Handler, delivery: Delivery) -> None:
    """Have a delivery handled, and settle it as the handler says. After an error its message comes again."""
    about = {"sequence": delivery.entry.sequence}
    try:
        outcome = await handler(delivery)
    except Exception:
        log.exception("message %d cannot be handled", delivery.entry.sequence, extra={"action": "handler_bug", **about})
        outcome = Nack()
    try:
        await delivery.settle(outcome)
    except SILENCE as error:
        log.warning(
            "message %d is not acknowledged, and comes again: %s",
            delivery.entry.sequence,
            error or type(error).__name__,
            extra={"action": "answer_failed", **about},
        )


Queues = Callable[[], Sequence[Queue]]
"""Which queues are to be taken from just now; never none."""


class Turns:
    """Whose turn it is: each free slot asks the queue that the fewest ask, and of these the one asked longest ago."""

    def __init__(self) -> None:
        self._asking: Counter[str] = Counter()
        self._asked: dict[str, int] = {}  # by queue: in which turn
        self._turns = count(1)

    def order(self, queues: Sequence[Queue]) -> list[Queue]:
        """Return queues in the order in which they are to be asked."""
        return sorted(queues, key=lambda queue: (self._asking[queue.name], self._asked.get(queue.name, 0)))

    @contextmanager
    def asking(self, queue: Queue) -> Generator[None]:
        """Note that a queue is asked."""
        self._asked[queue.name] = next(self._turns)
        self._asking[queue.name] += 1
        try:
            yield
        finally:
            self._asking[queue.name] -= 1


class Consumer:
    """Gives each message of some queues to a handler, `slots` at a time.

    A slot asks one queue at a time, for one message, when it is free: nothing is fetched ahead, so nothing waits here
    without a sign of life. An idle slot waits in the server at one queue after the other: so an idle worker asks as
    often for ten queues as for one. After work it asks all, without waiting: so one that has much to do is not kept
    waiting by others that have nothing.
    """

    def __init__(self, client: Connection, queues: Queues, handler: Handler, *, slots: int) -> None:
        self._client = client
        self.queues = queues
        self._handler = handler
        self._slots = slots
        self._turns = Turns()
        self._closing = asyncio.Event()

    async def run(self) -> None:
        """Take messages and have them handled, until `close`. Raises what is a defect."""
        slots = [asyncio.create_task(self._slot()) for _ in range(self._slots)]
        try:
            await asyncio.gather(*slots)
        finally:
            await cancel_and_wait(*slots)

    def close(self) -> None:
        """Take no more. `run` ends when what is being handled is settled."""
        self._closing.set()

    async def _slot(self) -> None:
        slot = _Slot(await Puller.open(self._client), self._turns, self.queues)
        closing = asyncio.create_task(self._closing.wait())
        taking: asyncio.Task[Delivery | None] | None = None
        try:
            while not self._closing.is_set():
                taking = asyncio.create_task(slot.take())
                await asyncio.wait([taking, closing], return_when=asyncio.FIRST_COMPLETED)
                if taking.done() and (delivery := taking.result()) is not None:
                    await consume(self._handler, delivery)
        finally:
            await cancel_and_wait(closing, *([taking] if taking else []))
            await slot.puller.close()


class _Slot:
    """Takes one message after the other, from whichever queue has its turn."""

    def __init__(self, puller: Puller, turns: Turns, queues: Queues) -> None:
        self.puller = puller
        self._turns = turns
        self._queues = queues
        self._has_worked = False

    async def take(self) -> Delivery | None:
        """Return the next message, None when there was none for a while."""
        queues = self._turns.order(self._queues())
        if self._has_worked and len(queues) > 1:
            for queue in queues:
                if (delivery := await self._ask(queue, None)) is not None:
                    return delivery
        delivery = await self._ask(queues[0], POLL)
        self._has_worked = delivery is not None
        return delivery

    async def _ask(self, queue: Queue, wait: float | None) -> Delivery | None:
        with self._turns.asking(queue):
            try:
                message = await self.puller.take(queue.name, wait)
            except Unavailable:
                await asyncio.sleep(PAUSE)  # a queue that is not there would be asked without end
                return None
        if message is None:
            return None
        number = message.raw.metadata.num_delivered
        return Delivery(entry=entry_of(message.raw), number=number, message=message, lease=queue.ack_wait)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
