"""The log: append with guards, read, follow.

Appending is compare-and-append (DESIGN, rule 3): what belongs together is one atomic batch, and each guarded message
expects the sequence that its decision was taken on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
from msgspec import structs
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError, NoRespondersError, OutboundBufferLimitError
from nats.js import JetStreamContext, api
from nats.js.errors import APIError, NotFoundError
from nats.js.errors import Error as JetStreamError

from bus import checkpoint
from bus.clock import now
from bus.envelope import Entry, Envelope, Stored, decode, encode
from bus.errors import Conflict, Duplicate, LogError, TooLarge, Unavailable, Unknown
from bus.stream import TTL, Queue, declare
from bus.subjects import STREAM, TABLE, guard_at, matches, subject_of
from schemas.base import Value, tag_of

BATCH_LIMIT = 1000  # messages in one atomic batch: the server's limit
FILTERS = 100  # subjects that one consumer is asked for by name
FETCH = 500  # messages asked for at once by a follower
ANSWER_TIMEOUT = 5.0  # seconds to wait for the server's word on an append
IDLE = 5.0  # seconds that a fetch waits in the server; also the longest a follower is blind after a server restart
RETRY_PAUSE = 0.5  # seconds before a follower makes a new consumer after an error
HEADERS_SIZE = 1024  # bytes kept free for headers, which count towards the server's limit on a message

GAP = "dead.log.gap"  # the subject of what stands for a message that has expired, while a log is restored

_WRONG_SEQUENCE = {10071, 10164}
_DUPLICATE = 10201
_LAST_SEQUENCE = "Nats-Expected-Last-Subject-Sequence"
_LAST_SEQUENCE_SUBJECT = "Nats-Expected-Last-Subject-Sequence-Subject"

Guards = Mapping[str, int]


class Batch(Value, frozen=True, kw_only=True):
    """Some entries of the log, in order. `caught_up`: nothing more was there when they were read.

    `position` is the sequence of the last entry read so far; with no entries it is the follower's starting position.
    """

    entries: list[Entry]
    position: int
    caught_up: bool


class Identity(Value, frozen=True, kw_only=True):
    """Which stream this is, and how far it goes: a position means something only together with `created`."""

    created: str
    last_sequence: int


class QueueState(Value, frozen=True, kw_only=True):
    """How far a queue is: all up to `acknowledged` is answered, `pending` messages have never been given to anybody.

    All that matches up to `delivered` was given to somebody at least once. `listeners`: how many slots ask for a
    message just now.
    """

    acknowledged: int
    delivered: int
    pending: int
    listeners: int


class _Stamped(Value, frozen=True, kw_only=True):
    """The part of a server's answer that says when it was given."""

    ts: datetime


class Log:
    """The stream `FLOWS`, over an open connection."""

    def __init__(self, client: Client, *, answer_timeout: float = ANSWER_TIMEOUT) -> None:
        self._client = client
        self._answer_timeout = answer_timeout
        self._js: JetStreamContext = client.jetstream(  # pyright: ignore[reportUnknownMemberType]
            timeout=answer_timeout
        )
        self._group: list[tuple[Envelope, asyncio.Future[int]]] = []
        self._flushing: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, client: Client, *, answer_timeout: float = ANSWER_TIMEOUT) -> Log:
        """Return the log, with its stream set up. Raises `Unavailable` when JetStream does not answer.

        `answer_timeout`: seconds to wait for the server's word on an append or a question.
        """
        log = cls(client, answer_timeout=answer_timeout)
        try:
            await declare(log._js)
        except (JetStreamError, TimeoutError, NoRespondersError, ConnectionClosedError) as error:
            raise Unavailable(f"the log cannot be set up: {error or type(error).__name__}") from error
        return log

    @property
    def is_connected(self) -> bool:
        return self._client.is_connected

    async def identity(self) -> Identity:
        """Return the stream's creation time and last sequence."""
        with _unavailable():
            info = await self._js.stream_info(STREAM)
        assert info.created is not None
        return Identity(created=info.created.astimezone(UTC).isoformat(), last_sequence=info.state.last_seq)

    async def last_sequence(self, subject: str) -> int:
        """Return the sequence of the last message on a subject filter, 0 when there is none (any more)."""
        with _unavailable():
            try:
                message = await self._js.get_last_msg(STREAM, subject, direct=True)
            except NotFoundError:
                return 0
        assert message.seq is not None
        return message.seq

    async def queue(self, queue: Queue) -> QueueState:
        """Return how far a queue is, as far as the server remembers.

        A server that was killed may remember less than was answered, and counts deliveries anew: whoever takes a
        message from a queue asks the log, not the delivery, what has been done about it.
        """
        with _unavailable(f"the queue {queue.name!r}"):
            info = await self._js.consumer_info(STREAM, queue.name)
        return QueueState(
            acknowledged=0 if info.ack_floor is None else info.ack_floor.stream_seq,
            delivered=0 if info.delivered is None else info.delivered.stream_seq,
            pending=info.num_pending or 0,
            listeners=info.num_waiting or 0,
        )

    async def acknowledged(self, queue: Queue) -> int:
        """Return the sequence up to which a queue's messages are all answered."""
        return (await self.queue(queue)).acknowledged

    async def time(self) -> datetime:
        """Return what the log's own clock says: by it, messages are stamped."""
        with _unavailable():
            answer = await self._client.request(f"$JS.API.STREAM.INFO.{STREAM}", b"", timeout=self._answer_timeout)
            return msgspec.json.decode(answer.data, type=_Stamped).ts

    async def note(self, key: str, value: dict[str, Any]) -> None:
        """Pin up what a service wants others to know of it now (DESIGN: no fact). Raises `Unavailable`."""
        with _unavailable():
            await checkpoint.pin(self._js, key, checkpoint.Note(value=value, at=await self.time()))

    async def notes(self, prefix: str) -> dict[str, checkpoint.Note]:
        """Return what is pinned up under keys that begin with `prefix`. Raises `Unavailable`."""
        with _unavailable():
            return await checkpoint.pinned(self._js, prefix)

    async def checkpoint(self, service: str) -> checkpoint.Checkpoint:
        """Return what a service has saved on this very stream; a checkpoint at 0 when there is none, or it is beyond.

        Raises `Unavailable`.
        """
        identity = await self.identity()
        with _unavailable():
            found = await checkpoint.load(self._js, service, created=identity.created)
        # a damaged log may have become shorter
        return found if found.position <= identity.last_sequence else structs.replace(found, position=0, answered=0)

    async def save_checkpoint(self, service: str, position: int, *, answered: int = 0) -> None:
        """Keep a position, from which on a service reads again when it starts. Raises `Unavailable`."""
        created = (await self.identity()).created
        with _unavailable():
            found = checkpoint.Checkpoint(created=created, position=position, answered=answered)
            await checkpoint.save(self._js, service, found)

    async def checkpoint_part(self, service: str, number: int) -> bytes:
        """Return a part of what is kept beside a checkpoint, empty when there is none. Raises `Unavailable`."""
        with _unavailable():
            return await checkpoint.load_part(self._js, service, number)

    async def save_checkpoint_part(self, service: str, number: int, data: bytes) -> None:
        """Keep a part beside a checkpoint. Raises `Unavailable`."""
        with _unavailable():
            await checkpoint.save_part(self._js, service, number, data)

    # --- append -------------------------------------------------------------------------------------------------------

    async def append(self, events: Sequence[Envelope], *, expect: Guards) -> int:
        """Append all of `events`, or none, and return the last one's sequence; the others' run up to it.

        `expect` maps subject filters to the last sequence seen there. A guard goes on the first message that it
        matches, or, when the decision rests on other subjects than its own, on the first that has none yet. Raises
        `Conflict`, `Unknown`, `Unavailable` or `TooLarge`.
        """
        if not 0 < len(events) <= BATCH_LIMIT:
            raise ValueError(f"a batch has 1 to {BATCH_LIMIT} messages, not {len(events)}")
        subjects = [subject_of(event.data) for event in events]
        headers = [_headers(event) for event in events]
        first: dict[str, int] = {}  # by guard: its first message
        for number, subject in enumerate(subjects):
            first.setdefault(guard_at(subject), number)
        for pattern, sequence in expect.items():
            number = first.get(pattern)
            if number is None:
                number = next((i for i, subject in enumerate(subjects) if matches(pattern, subject)), None)
            if number is None:
                number = next((i for i, header in enumerate(headers) if _LAST_SEQUENCE not in header), None)
            if number is None or _LAST_SEQUENCE in headers[number]:
                raise ValueError(f"no message for the guard on {pattern!r}: each guard needs one of its own")
            headers[number][_LAST_SEQUENCE] = str(sequence)
            headers[number][_LAST_SEQUENCE_SUBJECT] = pattern
        return await self._publish(list(zip(subjects, [encode(event) for event in events], headers, strict=True)))

    async def ask(self, event: Envelope) -> int:
        """Append one message whose id makes it unique within the duplicate window (a command, a worker's report).

        Returns its sequence, the first one's if it is there already. Messages asked at the same time share a batch.
        """
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._group.append((event, future))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        return await future

    async def _flush(self) -> None:
        """Group commit: append what has gathered while the last batch was under way, until nothing has."""
        while self._group:
            group, self._group = self._group[:BATCH_LIMIT], self._group[BATCH_LIMIT:]
            messages = [
                (subject_of(event.data), encode(event), {**_headers(event), api.Header.MSG_ID.value: event.id})
                for event, _ in group
            ]
            futures = [future for _, future in group]
            if len(group) == 1:
                await self._ask_one(messages[0], futures[0])
                continue
            try:
                last = await self._publish(messages)
            except (Duplicate, TooLarge):
                # one message spoils a batch: each on its own gets its own answer
                await asyncio.gather(*map(self._ask_one, messages, futures))
            except LogError as error:
                for future in futures:
                    _settle(future, error)
            else:
                for offset, future in enumerate(reversed(futures)):
                    _settle(future, last - offset)

    async def _ask_one(self, message: tuple[str, bytes, dict[str, str]], future: asyncio.Future[int]) -> None:
        try:
            _settle(future, await self._publish([message]))
        except LogError as error:
            _settle(future, error)

    async def _publish(self, messages: list[tuple[str, bytes, dict[str, str]]]) -> int:
        """Publish one message, or an atomic batch, and return the last sequence."""
        limit = self._client.max_payload - HEADERS_SIZE
        for subject, body, _ in messages:
            # an oversized message would close the connection for good
            if len(body) > limit:
                raise TooLarge(f"a message for {subject} has {len(body):,} bytes; the server takes {limit:,}")
        if not self._client.is_connected:
            raise Unavailable("not connected to NATS")
        try:
            if len(messages) == 1:
                return await self._publish_one(*messages[0])
            return await self._publish_batch(messages)
        except APIError as error:
            raise _refusal(error.err_code, error.description or str(error)) from error
        except TimeoutError as error:
            raise Unknown(f"NATS gave no answer for {messages[-1][0]} within {self._answer_timeout:.0f} s") from error
        except (NoRespondersError, ConnectionClosedError, OutboundBufferLimitError, JetStreamError) as error:
            raise Unavailable(f"NATS did not take {messages[-1][0]}: {error or type(error).__name__}") from error

    async def _publish_one(self, subject: str, body: bytes, headers: dict[str, str]) -> int:
        answer = await self._js.publish(subject, body, headers=headers, timeout=self._answer_timeout, stream=STREAM)
        return answer.seq

    async def _publish_batch(self, messages: list[tuple[str, bytes, dict[str, str]]]) -> int:
        """Speak the atomic batch protocol: numbered messages under one id, the last one commits and is answered.

        The first message is a request too: a server that cannot take a batch says so at once.
        """
        batch = uuid4().hex
        for number, (subject, body, headers) in enumerate(messages[:-1], start=1):
            part = {**headers, "Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
            if number == 1:
                _check(await self._client.request(subject, body, headers=part, timeout=self._answer_timeout))
            else:
                await self._client.publish(subject, body, headers=part)
        subject, body, headers = messages[-1]
        part = {
            **headers,
            "Nats-Batch-Id": batch,
            "Nats-Batch-Sequence": str(len(messages)),
            "Nats-Batch-Commit": "1",
        }
        answer = _check(await self._client.request(subject, body, headers=part, timeout=self._answer_timeout))
        return int(answer["seq"])

    async def restore(self, messages: Sequence[tuple[int, str, bytes]], *, after: int) -> int:
        """Append messages to a log that ends at `after`, each at the sequence that it had; return the last one.

        What is missing between them is filled with messages that vanish. Raises `Conflict` when the log moved.
        """
        placed: list[tuple[str, bytes, dict[str, str]]] = []
        expected = after + 1
        for sequence, subject, body in messages:
            placed += [(GAP, b"{}", {api.Header.MSG_TTL.value: "1s"})] * (sequence - expected)
            entry = decode(sequence=sequence, subject=subject, stored_at=now(), body=body)
            headers = _headers(entry.envelope) if isinstance(entry, Stored) else {}
            placed.append((subject, body, headers))
            expected = sequence + 1
        last = after
        for start in range(0, len(placed), BATCH_LIMIT):
            some = placed[start : start + BATCH_LIMIT]
            if await self._publish(some) != last + len(some):
                raise Conflict("somebody else appends to the log while it is restored")
            last += len(some)
        return last

    # --- read ---------------------------------------------------------------------------------------------------------

    async def read(self, subjects: Sequence[str], *, after: int = 0, until: int | None = None) -> list[Entry]:
        """Return what is on these subject filters now, after a sequence and up to one."""
        entries: list[Entry] = []
        async for batch in self.follow(subjects, after=after):
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
            except (_Gap, JetStreamError, TimeoutError, NoRespondersError, ConnectionClosedError):
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
                    if message.reply:  # the server asks whether to go on
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

    async def latest(self, subjects: Sequence[str], *, until: int | None = None) -> list[Entry]:
        """Return the last readable message of each subject that matches, in order: the catalogue in one quick pass.

        `until`: as it was at that sequence. A subject whose messages are all unreadable is left out.
        """
        found: list[Entry] = []
        again: list[str] = []  # subjects whose last message is not the one that is asked for
        async for batch in self._consume(subjects, api.DeliverPolicy.LAST_PER_SUBJECT, after=0):
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
        self, subjects: Sequence[str], *, after: int, ready: Callable[[], Awaitable[None]] | None = None
    ) -> AsyncIterator[Batch]:
        """Yield what is on these subject filters after a sequence, and all that comes, in order and without a gap.

        The consumer lives in the server without acknowledgements. When anything goes wrong it is re-made from the last
        position, so the sequence never ends of itself. The first batch may be empty: then nothing was there.
        """
        position = after
        while True:
            try:
                async for batch in self._consume(subjects, api.DeliverPolicy.BY_START_SEQUENCE, after=position):
                    position = batch.position
                    if ready is not None:
                        await ready()
                        ready = None
                    yield batch
            except (_Gap, JetStreamError, TimeoutError, NoRespondersError, ConnectionClosedError):
                if self._client.is_closed:
                    raise Unavailable("the connection to NATS is closed for good") from None
                await asyncio.sleep(RETRY_PAUSE)

    async def _consume(self, subjects: Sequence[str], policy: api.DeliverPolicy, *, after: int) -> AsyncIterator[Batch]:
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
                yield Batch(entries=[], position=position, caught_up=True)
            while True:
                try:
                    messages = await subscription.fetch(FETCH, timeout=IDLE)
                except TimeoutError:  # nats-py raises its own, and asyncio's: the second is the first one's base
                    # nothing came, or the consumer is gone: its own word decides
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
                    yield Batch(entries=entries, position=position, caught_up=pending == 0)
        finally:
            with suppress(Exception):
                await subscription.unsubscribe()
                await self._js.delete_consumer(STREAM, info.name)


@contextmanager
def _unavailable(what: str = "the log") -> Generator[None]:
    """Turn the client's errors of a question into `Unavailable`."""
    try:
        yield
    except (
        *(JetStreamError, TimeoutError, NoRespondersError, ConnectionClosedError, OutboundBufferLimitError),
        msgspec.MsgspecError,
    ) as error:
        raise Unavailable(f"{what} does not answer: {error or type(error).__name__}") from error


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


def _headers(event: Envelope) -> dict[str, str]:
    ttl = TTL[TABLE[tag_of(event.data)].lifetime]
    return {} if ttl is None else {api.Header.MSG_TTL.value: ttl}


def _check(answer: Msg) -> dict[str, Any]:
    """Return the server's answer in a batch, empty for the first message. Raises the refusal that it holds."""
    body: dict[str, Any] = json.loads(answer.data) if answer.data else {}
    if error := body.get("error"):
        raise _refusal(error.get("err_code"), error.get("description", "refused"))
    return body


def _refusal(code: int | None, description: str) -> LogError:
    if code in _WRONG_SEQUENCE:
        return Conflict(description)
    if code == _DUPLICATE:
        return Duplicate(description)
    return Unavailable(f"the log refused the message: {description} ({code})")


def _settle(future: asyncio.Future[int], answer: int | LogError) -> None:
    """Give an answer to whoever asked, if they still wait for it."""
    if future.done():
        return
    if isinstance(answer, LogError):
        future.set_exception(answer)
    else:
        future.set_result(answer)
