"""Appending: compare-and-append (docs/architecture.md, "The rules"), one message or an atomic batch, all or nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api
from nats.js.errors import APIError

from bus.clock import now
from bus.envelope import Envelope, Stored, decode, encode
from bus.errors import Conflict, Duplicate, LogError, TooLarge, Unavailable, Unknown
from bus.refusals import SILENCE, refusal
from bus.stream import TTL
from bus.subjects import STREAM, TABLE, guard_at, matches, subject_of
from schemas.base import tag_of

BATCH_LIMIT = 1000  # messages in one atomic batch: the server's limit
FEW = 8  # reports that are appended sooner each by itself than in a batch, which one refusal takes apart again
HEADERS_SIZE = 1024  # bytes kept free for headers, which count towards the server's limit on a message

GAP = "dead.log.gap"  # the subject of what stands for a message that has expired, while a log is restored

_LAST_SEQUENCE = "Nats-Expected-Last-Subject-Sequence"
_LAST_SEQUENCE_SUBJECT = "Nats-Expected-Last-Subject-Sequence-Subject"

Guards = Mapping[str, int]


class Appender:
    """Appends to the stream over an open connection. `timeout`: seconds to wait for the server's reply."""

    def __init__(self, client: Client, js: JetStreamContext, timeout: float) -> None:
        self._client = client
        self._js = js
        self._timeout = timeout
        self._group: list[tuple[Envelope, dict[str, str], asyncio.Future[int]]] = []
        self._flushing: asyncio.Task[None] | None = None

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
                matching = (subject for subject in dict.fromkeys(subjects) if matches(pattern, subject))
                number = next(map(subjects.index, matching), None)
            if number is None:
                number = next((i for i, header in enumerate(headers) if _LAST_SEQUENCE not in header), None)
            if number is None or _LAST_SEQUENCE in headers[number]:
                raise ValueError(f"no message for the guard on {pattern!r}: each guard needs one of its own")
            headers[number][_LAST_SEQUENCE] = str(sequence)
            headers[number][_LAST_SEQUENCE_SUBJECT] = pattern
        return await self._publish(list(zip(subjects, [encode(event) for event in events], headers, strict=True)))

    async def publish_once(self, event: Envelope) -> int:
        """Append one message whose id makes it unique within the duplicate window (a command).

        Returns its sequence, the first one's if it is there already. Calls at the same time share a batch.
        """
        return await self._grouped(event, {api.Header.MSG_ID.value: event.id})

    async def report(self, event: Envelope, *, about: str, last: int) -> int:
        """Append one message on the condition that `last` is the last sequence on the subject filter `about`.

        Returns its sequence. Calls at the same time share a batch. Raises `Conflict`, `Unknown`, `Unavailable` or
        `TooLarge`.
        """
        return await self._grouped(event, {_LAST_SEQUENCE: str(last), _LAST_SEQUENCE_SUBJECT: about})

    async def _grouped(self, event: Envelope, headers: dict[str, str]) -> int:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._group.append((event, headers, future))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        return await future

    async def _flush(self) -> None:
        """Group commit: append what has gathered while the last batch was under way, until nothing has."""
        while self._group:
            group, self._group = self._group[:BATCH_LIMIT], self._group[BATCH_LIMIT:]
            messages = [
                (subject_of(event.data), encode(event), {**_headers(event), **headers}) for event, headers, _ in group
            ]
            futures = [future for _, _, future in group]
            reports = all(_LAST_SEQUENCE in headers for _, headers, _ in group)
            if len(group) <= (FEW if reports else 1):
                await asyncio.gather(*map(self._publish_alone, messages, futures))
                continue
            try:
                last = await self._publish(messages)
            except (Conflict, Duplicate, TooLarge):
                # one message refuses a whole batch: alone, each has its own outcome
                await asyncio.gather(*map(self._publish_alone, messages, futures))
            except LogError as error:
                for future in futures:
                    _resolve(future, error)
            else:
                for offset, future in enumerate(reversed(futures)):
                    _resolve(future, last - offset)

    async def _publish_alone(self, message: tuple[str, bytes, dict[str, str]], future: asyncio.Future[int]) -> None:
        try:
            _resolve(future, await self._publish([message]))
        except LogError as error:
            _resolve(future, error)

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
            raise refusal(error.err_code, error.description or str(error)) from error
        except TimeoutError as error:
            raise Unknown(f"NATS did not reply for {messages[-1][0]} within {self._timeout:.0f} s") from error
        except SILENCE as error:
            raise Unavailable(f"NATS did not take {messages[-1][0]}: {error or type(error).__name__}") from error

    async def _publish_one(self, subject: str, body: bytes, headers: dict[str, str]) -> int:
        ack = await self._js.publish(subject, body, headers=headers, timeout=self._timeout, stream=STREAM)
        return ack.seq

    async def _publish_batch(self, messages: list[tuple[str, bytes, dict[str, str]]]) -> int:
        """Speak the atomic batch protocol: numbered messages under one id; the reply to the last one is the commit.

        The first message is a request too: a server that cannot take a batch refuses it at once.
        """
        batch = uuid4().hex
        for number, (subject, body, headers) in enumerate(messages[:-1], start=1):
            part = {**headers, "Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
            if number == 1:
                _check(await self._client.request(subject, body, headers=part, timeout=self._timeout))
            else:
                await self._client.publish(subject, body, headers=part)
        subject, body, headers = messages[-1]
        part = {
            **headers,
            "Nats-Batch-Id": batch,
            "Nats-Batch-Sequence": str(len(messages)),
            "Nats-Batch-Commit": "1",
        }
        reply = _check(await self._client.request(subject, body, headers=part, timeout=self._timeout))
        return int(reply["seq"])

    async def restore(self, messages: Sequence[tuple[int, str, bytes]], *, after: int) -> int:
        """Append messages to a log that ends at `after`, each at the sequence that it had; return the last one.

        What is missing between them is filled with messages that expire. Raises `Conflict` when the log moved.
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
                raise Conflict(
                    "another process appends to the log while it is restored: stop all services, and begin again"
                )
            last += len(some)
        return last


def _headers(event: Envelope) -> dict[str, str]:
    ttl = TTL[TABLE[tag_of(event.data)].lifetime]
    return {} if ttl is None else {api.Header.MSG_TTL.value: ttl}


def _check(reply: Msg) -> dict[str, Any]:
    """Return the body of the server's reply in a batch, empty for the first message. Raises the refusal in it."""
    body: dict[str, Any] = json.loads(reply.data) if reply.data else {}
    if error := body.get("error"):
        raise refusal(error.get("err_code"), error.get("description", "refused"))
    return body


def _resolve(future: asyncio.Future[int], outcome: int | LogError) -> None:
    """Set the outcome of a call, unless it was cancelled."""
    if future.done():
        return
    if isinstance(outcome, LogError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
