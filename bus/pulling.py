"""Pulling: one message at a time from one of several queues, for whoever has a free slot.

The framework subscribes each slot to one queue, and fetches from it whenever it can. What takes from several has to
choose, before it asks, so that it never holds two messages: hence this, by hand.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from bus.connection import Connection
from bus.errors import Unavailable
from bus.refusals import SILENCE, unavailable
from bus.subjects import STREAM

MARGIN = 1.0  # seconds after which a server that should have replied is not waited for any more
_STATUS = "Status"
_NOTHING = {"404", "408"}  # no message now; none within the time


class Pulled:
    """A message from a queue, and the means to settle it."""

    def __init__(self, raw: Msg) -> None:
        self.raw = raw

    async def ack_sync(self) -> None:
        """Acknowledge it, and have the server confirm that. Raises what the client raises."""
        await self.raw.ack_sync()

    async def nack(self, delay: float) -> None:
        """Have it come again after so many seconds."""
        await self.raw.nak(delay=delay)

    async def in_progress(self) -> None:
        """Tell the server that it is worked on."""
        await self.raw.in_progress()


class Puller:
    """Takes messages for one slot: it has one request under way at most."""

    def __init__(self, client: Client, subscription: Subscription, inbox: str) -> None:
        self._client = client
        self._subscription = subscription
        self._inbox = inbox

    @classmethod
    async def open(cls, client: Connection) -> Puller:
        """Return one with an inbox of its own. Raises `Unavailable`."""
        inbox = client.new_inbox()
        with unavailable():
            subscription = await client.subscribe(inbox)  # pyright: ignore[reportUnknownMemberType]
        return cls(client, subscription, inbox)

    async def close(self) -> None:
        """Let go of the inbox: a message that is on its way comes again to somebody else."""
        with suppress(*SILENCE):
            await self._subscription.unsubscribe()

    async def take(self, queue: str, wait: float | None) -> Pulled | None:
        """Return the next message of a queue; None when there is none, now or (with `wait`) within so many seconds.

        Raises `Unavailable` when there is no such queue, or the server does not reply.
        """
        if (late := self._late()) is not None:
            return late
        request: dict[str, Any] = {"batch": 1}
        request |= {"no_wait": True} if wait is None else {"expires": int(wait * 1e9)}
        try:
            subject = f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{queue}"
            await self._client.publish(subject, json.dumps(request).encode(), reply=self._inbox)
            message = await self._subscription.next_msg(timeout=(wait or 0.0) + MARGIN)
        except SILENCE as error:
            raise Unavailable(f"the queue {queue!r} does not respond: {error or type(error).__name__}") from error
        status = _status(message)
        if status is None:
            return Pulled(message)
        if status not in _NOTHING:
            said = (message.headers or {}).get("Description", "there is no such queue")
            raise Unavailable(f"the queue {queue!r} does not respond: {said}")
        return None

    def _late(self) -> Pulled | None:
        """Return a message that came after its request was given up: it is as good as any."""
        pending = self._subscription._pending_queue  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        while True:
            try:
                message: Msg = pending.get_nowait()
            except asyncio.QueueEmpty:
                return None
            self._subscription._pending_size -= len(message.data)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            if _status(message) is None:
                return Pulled(message)


def _status(message: Msg) -> str | None:
    """Return the status that a reply without a message is; None for a message."""
    return None if message.data or message.headers is None else message.headers.get(_STATUS)
