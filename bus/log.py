"""The log: everything asked, decided and done, on one stream. What others of bus/ can do, in one place."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import structs
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from bus import checkpoint, replies, setup
from bus.appending import Appender
from bus.format import refuse_newer
from bus.reading import LogReader
from bus.refusals import unavailable
from bus.stream import Placement, Queue
from bus.subjects import STREAM
from schemas.base import Value

logger = logging.getLogger(__name__)

REPLY_TIMEOUT = 5.0  # seconds to wait for the server's reply
LOOK_AGAIN = 0.1  # seconds between looks whether the log is there
TELL_AFTER = 2.0  # seconds of waiting for it until that is said
TELL_AGAIN = 30.0  # … and said again


class Replica(Value, frozen=True, kw_only=True):
    """One server's copy of the stream, other than the leader's. `lag`: how many operations it lacks."""

    server: str
    current: bool
    lag: int


class Identity(Value, frozen=True, kw_only=True):
    """Which stream this is, and how far it goes: a position means something only together with `created`."""

    created: str
    last_sequence: int
    replicas: tuple[Replica, ...] = ()


class QueueState(Value, frozen=True, kw_only=True):
    """How far a queue is: all up to `acknowledged` is acknowledged, `pending` messages have never been delivered.

    All that matches up to `delivered` was delivered at least once. `listeners`: how many slots wait for a message now.
    """

    acknowledged: int
    delivered: int
    pending: int
    listeners: int


class _Stamped(Value, frozen=True, kw_only=True):
    """The part of a server's reply with the time."""

    ts: datetime


class Log(Appender, LogReader):
    """The stream `FLOWS`, over an open connection: appends, reads, and what is known about it."""

    def __init__(self, client: Client, *, reply_timeout: float = REPLY_TIMEOUT) -> None:
        js: JetStreamContext = client.jetstream(timeout=reply_timeout)  # pyright: ignore[reportUnknownMemberType]
        Appender.__init__(self, client, js, reply_timeout)
        LogReader.__init__(self, client, js)

    @classmethod
    async def open(cls, client: Client, *, reply_timeout: float = REPLY_TIMEOUT) -> Log:
        """Return the log once it is there: the part `setup` declares it.

        Raises `Unavailable` without JetStream, and `NewerLog`.

        `reply_timeout`: seconds to wait for the server's reply.
        """
        log = cls(client, reply_timeout=reply_timeout)
        await log.declared()
        return log

    async def declare(self, queues: Sequence[Queue], placement: Placement) -> None:
        """Set up the stream, the bucket beside it, and queues: the part `setup` does. Raises `Unavailable`."""
        await setup.declare(self._js, queues, placement)

    async def keep(self, queues: Sequence[Queue]) -> list[str]:
        """Put queues right that somebody has deleted or changed, and return what was done. Raises `Unavailable`."""
        with unavailable():
            return await setup.keep(self._js, queues)

    async def retire(self, name: str) -> None:
        """Delete a queue that nobody needs any more. Raises `Unavailable`."""
        with unavailable():
            await setup.retire(self._js, name)

    async def queue_names(self, prefix: str) -> list[str]:
        """Return the names of the queues that begin so. Raises `Unavailable`."""
        with unavailable():
            return [name for name in await setup.names(self._js) if name.startswith(prefix)]

    async def declared(self, queues: Sequence[Queue] = ()) -> None:
        """Wait until the log and these queues are there. Raises `Unavailable` when JetStream does not reply."""
        loop = asyncio.get_running_loop()
        tell_at = loop.time() + TELL_AFTER
        with unavailable():
            while (missing := await self._missing(queues)) is not None:
                if loop.time() >= tell_at:
                    about = {"action": "log_missing"}
                    logger.warning("%s is not there yet: is `flows serve setup` running?", missing, extra=about)
                    tell_at = loop.time() + TELL_AGAIN
                await asyncio.sleep(LOOK_AGAIN)

    async def _missing(self, queues: Sequence[Queue]) -> str | None:
        """Return what of the log and its queues is not there, None when all of it is."""
        try:
            refuse_newer((await self._js.stream_info(STREAM)).config.metadata)
        except NotFoundError:
            return "the log"
        for queue in queues:
            try:
                await self._js.consumer_info(STREAM, queue.name)
            except NotFoundError:
                return f"the queue {queue.name!r}"
        return None

    @property
    def is_connected(self) -> bool:
        return self._client.is_connected

    async def identity(self) -> Identity:
        """Return the stream's creation time, its last sequence, and how its replicas are.

        Raises `Unavailable`, and `NewerLog`: every part asks this every few seconds.
        """
        with unavailable():
            info = await self._js.stream_info(STREAM)
        refuse_newer(info.config.metadata)
        assert info.created is not None
        others = (info.cluster.replicas if info.cluster else None) or ()
        return Identity(
            created=info.created.astimezone(UTC).isoformat(),
            last_sequence=info.state.last_seq,
            replicas=tuple(
                Replica(server=one.name or "?", current=bool(one.current and not one.offline), lag=one.lag or 0)
                for one in others
            ),
        )

    async def last_sequence(self, subject: str) -> int:
        """Return the sequence of the last message on a subject filter, 0 when there is none (any more)."""
        with unavailable():
            try:
                message = await self._js.get_last_msg(STREAM, subject)
            except NotFoundError:
                return 0
        assert message.seq is not None
        return message.seq

    async def queue(self, queue: Queue) -> QueueState:
        """Return how far a queue is, as far as the server remembers.

        A server that was killed may have lost acknowledgements, and counts deliveries anew: whoever takes a message
        from a queue reads from the log, not from the delivery, what has been done about it (docs/adr/0001).
        """
        with unavailable(f"the queue {queue.name!r}"):
            info = await self._js.consumer_info(STREAM, queue.name)
        return QueueState(
            acknowledged=0 if info.ack_floor is None else info.ack_floor.stream_seq,
            delivered=0 if info.delivered is None else info.delivered.stream_seq,
            pending=info.num_pending or 0,
            listeners=info.num_waiting or 0,
        )

    async def acknowledged(self, queue: Queue) -> int:
        """Return the sequence up to which a queue's messages are all acknowledged."""
        return (await self.queue(queue)).acknowledged

    async def time(self) -> datetime:
        """Return the time by the log's own clock, which stamps messages."""
        with unavailable():
            reply = await self._client.request(f"$JS.API.STREAM.INFO.{STREAM}", b"", timeout=self._timeout)
            return msgspec.json.decode(reply.data, type=_Stamped).ts

    async def request_many(
        self,
        subject: str,
        body: bytes,
        *,
        patience: float,
        lull: float,
        enough: Callable[[Sequence[bytes]], bool],
    ) -> list[bytes]:
        """Return the replies of all that listen on a subject beside the log (`replies`). Raises `Unavailable`."""
        with unavailable():
            return await replies.request_many(self._client, subject, body, patience=patience, lull=lull, enough=enough)

    async def respond(self, subject: str, handler: replies.Handler, *, queue: str = "") -> None:
        """Reply to requests on a subject beside the log, as long as the connection lives. Raises `Unavailable`.

        Of all that name the same `queue`, one gets a request.
        """
        with unavailable():
            await replies.respond(self._client, subject, handler, queue=queue)

    async def put_status(self, key: str, value: dict[str, Any]) -> None:
        """Publish how a service is now, under a key beside the log. Raises `Unavailable`."""
        with unavailable():
            await checkpoint.put_status(self._js, key, checkpoint.Status(value=value, at=await self.time()))

    async def get_status(self, key: str) -> checkpoint.Status | None:
        """Return the status under a key, None when there is none. Raises `Unavailable`."""
        with unavailable():
            return await checkpoint.get_status(self._js, key)

    async def delete_status(self, key: str) -> None:
        """Delete the status under a key. Raises `Unavailable`."""
        with unavailable():
            await checkpoint.delete_status(self._js, key)

    async def statuses(self, prefix: str) -> dict[str, checkpoint.Status]:
        """Return every status whose key begins with `prefix`. Raises `Unavailable`."""
        with unavailable():
            return await checkpoint.statuses(self._js, prefix)

    async def checkpoint(self, service: str) -> checkpoint.Checkpoint:
        """Return what a service has saved on this very stream; a checkpoint at 0 when there is none, or it is beyond.

        Raises `Unavailable`.
        """
        identity = await self.identity()
        with unavailable():
            found = await checkpoint.load(self._js, service, created=identity.created)
        # a damaged log may have become shorter
        return found if found.position <= identity.last_sequence else structs.replace(found, position=0, processed=0)

    async def save_checkpoint(self, service: str, position: int, *, processed: int = 0) -> None:
        """Keep a position, from which on a service reads again when it starts. Raises `Unavailable`."""
        created = (await self.identity()).created
        with unavailable():
            found = checkpoint.Checkpoint(created=created, position=position, processed=processed)
            await checkpoint.save(self._js, service, found)

    async def checkpoint_part(self, service: str, number: int) -> bytes:
        """Return a part of what is kept beside a checkpoint, empty when there is none. Raises `Unavailable`."""
        with unavailable():
            return await checkpoint.load_part(self._js, service, number)

    async def save_checkpoint_part(self, service: str, number: int, data: bytes) -> None:
        """Keep a part beside a checkpoint. Raises `Unavailable`."""
        with unavailable():
            await checkpoint.save_part(self._js, service, number, data)
