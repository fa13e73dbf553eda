"""Reading: all of it, what is new, or the last message of each subject; always in order and without a gap."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from datetime import UTC
from typing import Any
from uuid import uuid4

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api
from nats.js.errors import NotFoundError

from bus.envelope import Entry, Stored, decode
from bus.errors import Unavailable
from bus.refusals import SILENCE, unavailable
from bus.subjects import STREAM
from schemas.base import Value

FETCH = 500  # messages that a follower fetches at once
FILTERS = 100  # subject filters of one consumer
IDLE = 5.0  # seconds that a fetch waits in the server; also the longest a follower is blind after a server restart
RETRY_PAUSE = 0.5  # seconds before a follower makes a new consumer after an error


class Page(Value, frozen=True, kw_only=True):
    """Some entries of the log, in order. `caught_up`: nothing more was there when they were read.

    `position` is the sequence of the last entry read so far; with no entries it is the follower's starting position.
    """

    entries: list[Entry]
    position: int
    caught_up: bool


class LogReader:
    """Reads the stream over an open connection."""

    def __init__(self, client: Client, js: JetStreamContext) -> None:
        self._client = client
        self._js = js

    async def read(self, subjects: Sequence[str], *, after: int = 0, until: int | None = None) -> list[Entry]:
        """Return what is on these subject filters now, after a sequence and up to one."""
        entries: list[Entry] = []
        async with aclosing(self.follow(subjects, after=after)) as batches:
            async for batch in batches:
                entries += [entry for entry in batch.entries if until is None or entry.sequence <= until]
                if batch.caught_up or (until is not None and batch.position >= until):
                    break
        return entries

    async def pages(self, *, after: int, until: int, size: int) -> AsyncIterator[list[Entry]]:
        """Yield all that is on the log after a sequence and up to one, in lists of `size` (the last one: of the rest).

        For whole histories: the server pushes, which is three times as fast as fetching.
        """
        position = after
        while position < until:
            try:
                async for page in self._pushed(position, until, size):
                    position = page[-1].sequence
                    yield page
                break  # what is between the last message and `until` has expired
            except (_Gap, *SILENCE):
                if self._client.is_closed:
                    raise Unavailable("the connection to NATS is closed for good") from None
                await asyncio.sleep(RETRY_PAUSE)

    async def _pushed(self, after: int, until: int, size: int) -> AsyncIterator[list[Entry]]:
        """Yield pages from a consumer that the server pushes to. Raises `_Gap` when it falls silent or out of order."""
        arrived: asyncio.Queue[Msg] = asyncio.Queue()
        inbox = self._client.new_inbox()

        async def take(message: Msg) -> None:
            arrived.put_nowait(message)

        # the server's flow control bounds what is on its way
        subscription = await self._client.subscribe(  # pyright: ignore[reportUnknownMemberType]
            inbox, cb=take, pending_msgs_limit=0, pending_bytes_limit=0
        )
        config = api.ConsumerConfig(
            name=uuid4().hex,
            deliver_subject=inbox,
            deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=after + 1,
            ack_policy=api.AckPolicy.NONE,
            flow_control=True,
            idle_heartbeat=IDLE,
            mem_storage=True,
            num_replicas=1,
            inactive_threshold=60,
        )
        info = await self._js.add_consumer(STREAM, config)  # pyright: ignore[reportUnknownMemberType]
        try:
            if not info.num_pending and not (info.delivered and info.delivered.consumer_seq):
                return
            page: list[Entry] = []
            delivered = 0
            while True:
                try:
                    waits = arrived.empty()
                    message = await asyncio.wait_for(arrived.get(), 3 * IDLE) if waits else arrived.get_nowait()
                except TimeoutError:
                    raise _Gap from None
                if not message.data and message.headers is not None and "Status" in message.headers:
                    if message.reply:  # flow control: the server waits for a reply
                        await self._client.publish(message.reply)
                    continue
                metadata = message.metadata
                delivered += 1
                if metadata.sequence.consumer != delivered:
                    raise _Gap
                if metadata.sequence.stream <= until:
                    page.append(entry_of(message))
                over = metadata.sequence.stream >= until or not metadata.num_pending
                if page and (len(page) >= size or over):
                    yield page
                    page = []
                if over:
                    return
        finally:
            with suppress(Exception):
                await subscription.unsubscribe()
                await self._js.delete_consumer(STREAM, info.name)

    async def last(self, subject: str) -> Entry | None:
        """Return the last message on a subject filter, None when there is none (any more). Raises `Unavailable`.

        The stream's leader replies: what is on the log when this is called is not missed.
        """
        return await self._message(subject=subject)

    async def after(self, subject: str, position: int) -> list[Entry]:
        """Return what is on a subject filter after a sequence: for what is little, as it is asked for one by one.

        Like `last`, it misses nothing. Raises `Unavailable`.
        """
        entries: list[Entry] = []
        while (entry := await self._message(subject=subject, seq=position + 1, next=True)) is not None:
            entries.append(entry)
            position = entry.sequence
        return entries

    async def _message(self, **which: Any) -> Entry | None:
        with unavailable():
            try:
                found = await self._js.get_msg(STREAM, **which)
            except NotFoundError:
                return None
        assert found.seq is not None
        assert found.subject is not None
        assert found.time is not None
        return decode(
            sequence=found.seq, subject=found.subject, stored_at=found.time.astimezone(UTC), body=found.data or b""
        )

    async def latest(self, subjects: Sequence[str], *, until: int | None = None) -> list[Entry]:
        """Return the last readable message of each subject that matches, in order: the catalogue in one quick pass.

        `until`: as it was at that sequence. A subject whose messages are all unreadable is left out. Raises
        `Unavailable`.
        """
        found: list[Entry] = []
        again: list[str] = []  # subjects whose last message is unreadable, or too new
        with unavailable():
            async with aclosing(self._consume(subjects, api.DeliverPolicy.LAST_PER_SUBJECT, after=0)) as batches:
                async for batch in batches:
                    for entry in batch.entries:
                        if isinstance(entry, Stored) and (until is None or entry.sequence <= until):
                            found.append(entry)
                        else:
                            again.append(entry.subject)
                    if batch.caught_up:
                        break
        for start in range(0, len(again), FILTERS):
            earlier: dict[str, Entry] = {}
            for entry in await self.read(again[start : start + FILTERS], until=until):
                if isinstance(entry, Stored):
                    earlier[entry.subject] = entry
            found += earlier.values()
        return sorted(found, key=lambda entry: entry.sequence)

    async def follow(
        self,
        subjects: Sequence[str],
        *,
        after: int,
        ready: Callable[[], Awaitable[None]] | None = None,
        fetch: int = FETCH,
    ) -> AsyncGenerator[Page]:
        """Yield what is on these subject filters after a sequence, and all that comes, in order and without a gap.

        The consumer lives in the server without acknowledgements. When anything goes wrong it is re-made from the last
        position, so the sequence never ends of itself. The first batch may be empty: then nothing was there. Batches
        have at most `fetch` entries; the next one is asked for when the last one has been taken.
        """
        position = after
        while True:
            try:
                consumed = self._consume(subjects, api.DeliverPolicy.BY_START_SEQUENCE, after=position, fetch=fetch)
                async with aclosing(consumed) as batches:
                    async for batch in batches:
                        position = batch.position
                        if ready is not None:
                            await ready()
                            ready = None
                        yield batch
            except (_Gap, *SILENCE):
                if self._client.is_closed:
                    raise Unavailable("the connection to NATS is closed for good") from None
                await asyncio.sleep(RETRY_PAUSE)

    async def _consume(
        self, subjects: Sequence[str], policy: api.DeliverPolicy, *, after: int, fetch: int = FETCH
    ) -> AsyncGenerator[Page]:
        """Yield batches from a fresh ephemeral consumer until it fails. Raises `_Gap` when some came out of order."""
        config = api.ConsumerConfig(
            deliver_policy=policy,
            opt_start_seq=after + 1 if policy is api.DeliverPolicy.BY_START_SEQUENCE else None,
            ack_policy=api.AckPolicy.NONE,
            filter_subjects=list(subjects),
            mem_storage=True,
            num_replicas=1,
            inactive_threshold=60,
        )
        subscription = await self._js.pull_subscribe("", stream=STREAM, config=config)
        info = await subscription.consumer_info()
        try:
            position, delivered = after, 0
            if not info.num_pending and not info.delivered.consumer_seq:  # type: ignore[union-attr]
                yield Page(entries=[], position=position, caught_up=True)
            while True:
                try:
                    messages = await subscription.fetch(fetch, timeout=IDLE)
                except TimeoutError:  # nats-py raises its own, and asyncio's: the second is the first one's base
                    # nothing came, or the consumer is gone: this raises then
                    await subscription.consumer_info()
                    continue
                entries: list[Entry] = []
                pending = 0
                for message in messages:
                    metadata = message.metadata
                    delivered += 1
                    if metadata.sequence.consumer != delivered:
                        raise _Gap
                    position, pending = metadata.sequence.stream, metadata.num_pending
                    entries.append(entry_of(message))
                if entries:
                    yield Page(entries=entries, position=position, caught_up=pending == 0)
        finally:
            with suppress(Exception):
                await subscription.unsubscribe()
                await self._js.delete_consumer(STREAM, info.name)


class _Gap(Exception):
    """A consumer did not deliver in order."""


def entry_of(message: Msg) -> Entry:
    """Return the entry that a delivered message holds."""
    metadata = message.metadata
    return decode(
        sequence=metadata.sequence.stream,
        subject=message.subject,
        stored_at=metadata.timestamp.astimezone(UTC),
        body=message.data,
    )
