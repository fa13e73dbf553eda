"""Consuming a queue: FastStream's router with one route for each slot, and the middleware that settles messages.

The server takes an acknowledgement of a message from anybody who ever had it, for whoever has it now (ADR 13). So
a delivery knows whether it may still be settled, and a handler that has lost its work abandons it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from faststream import AckPolicy, BaseMiddleware
from faststream.nats import JStream, NatsMessage, NatsRoute, NatsRouter, PullSub

from bus.envelope import Entry
from bus.reading import entry_of
from bus.refusals import SILENCE
from bus.stream import Queue, consumer_config
from bus.subjects import STREAM
from schemas.base import Value

log = logging.getLogger(__name__)

POLL = 1.0  # seconds that an idle slot waits in the server for one message
RETRY_DELAY = 2.0  # seconds before a message comes again whose handler has not said when


class Ack(Value, frozen=True, kw_only=True):
    """The work is done: acknowledge the message, and have the server confirm that."""


class Nack(Value, frozen=True, kw_only=True):
    """The message is to come again, here or elsewhere, after `delay` seconds (None: after `RETRY_DELAY`)."""

    delay: float | None = None


Outcome = Ack | Nack | None
"""What a handler wants to become of its message. None: somebody else settles it, or nobody, and it comes again."""


class Delivery:
    """A message from a queue: what it holds, which delivery of it this is (from 1), and the means to settle it.

    It is its receiver's for `lease` seconds after it came or was last extended.
    """

    def __init__(self, *, entry: Entry, number: int, message: NatsMessage, lease: float) -> None:
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


class Settling(BaseMiddleware):
    """Settles each message once its handler has returned or raised."""

    async def consume_scope(self, call_next: Callable[[Any], Awaitable[Any]], msg: Any) -> None:
        await consume(lambda _: call_next(msg), await msg.decode())


def router(queue: Queue, handler: Handler, *, slots: int) -> NatsRouter:
    """Return a router that gives each message of a queue to a handler, `slots` at a time.

    One route for each slot on the same durable consumer, which asks for one message when it is free: nothing is fetched
    ahead, so nothing waits here without a sign of life.
    """

    async def decoder(message: NatsMessage) -> Delivery:
        raw = message.raw_message
        number = raw.metadata.num_delivered
        return Delivery(entry=entry_of(raw), number=number, message=message, lease=queue.ack_wait)

    async def handle(delivery: Any) -> Any:
        return await handler(delivery)

    routes = [
        NatsRoute(
            handle,
            "",
            stream=JStream(STREAM, declare=False),
            durable=queue.name,
            config=consumer_config(queue),
            pull_sub=PullSub(batch_size=1, timeout=POLL),
            ack_policy=AckPolicy.MANUAL,
            no_reply=True,
        )
        for _ in range(slots)
    ]
    return NatsRouter(handlers=routes, middlewares=[Settling], decoder=decoder)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
