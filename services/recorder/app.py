"""The recorder's shell: follows everything and writes it to SQL; its position moves in the same transaction."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from sqlalchemy.exc import DBAPIError

from bus.envelope import Entry, Envelope, Stored, envelope
from bus.errors import Conflict
from bus.log import Log
from bus.subjects import id_of
from schemas.events import DeadLettered
from services.hosting import Subscribe
from services.recorder.changes import DeadLetter
from services.recorder.store import Store

log = logging.getLogger(__name__)


class Recorder:
    """Projects all events into the tables. What cannot be projected becomes a dead letter on the log."""

    name = "recorder"
    reads: Sequence[str] = (">",)

    def __init__(self, store: Store) -> None:
        self._store = store

    async def open(self, log: Log, subscribe: Subscribe) -> None:
        del subscribe  # nothing to subscribe: the recorder follows
        self._dead_letters = DeadLetters(log)
        self._log = log
        self._stream = await log.identity()
        try:
            self._position = await self._store.position(self._stream)
        except Exception:
            await self._store.close()
            raise

    @property
    def position(self) -> int:
        return self._position

    async def run(self) -> None:
        try:
            async for batch in self._log.follow(self.reads, after=self._position):
                if batch.entries:
                    # a statement that is cancelled keeps the write lock until it ends: writing is never cancelled
                    await _uncancelled(self._record(batch.entries, batch.position))
        finally:
            await asyncio.shield(self._store.close())

    async def _record(self, entries: list[Entry], position: int) -> None:
        try:
            await self._store.apply(entries, self._stream, self._dead_letters.publish)
        except DBAPIError as error:
            cause = str(error.__cause__ or error).splitlines()[0]
            raise RuntimeError(
                f"the tables cannot be written, and stay at message {self._position:,}: {cause}. The log has all that "
                "is missing: see to the database (is its disk full?), and start the recorder again"
            ) from error
        self._position = position


class DeadLetters:
    """Publishes dead letters: each is on the log once, however many recorders there are and wherever they end.

    Those that are on the log are read, and each further one is appended with the sequence that they were read up to.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._published: dict[str, set[int]] = {}  # by subject: the messages that have one
        self._guards: dict[str, int] = {}

    async def publish(self, dead_letters: Sequence[DeadLetter]) -> None:
        """Append dead letters. A dead letter that cannot be used has none of its own: that would never end."""
        for one in dead_letters:
            if one.entry.subject.startswith("dead."):
                continue
            event = _event(one)
            subject = event.type
            if subject not in self._published:
                self._published[subject] = set()
                await self._read(subject)
            while one.entry.sequence not in self._published[subject]:
                await self._append(subject, event, one)

    async def _append(self, subject: str, event: Envelope, one: DeadLetter) -> None:
        try:
            self._guards[subject] = await self._log.append([event], expect={subject: self._guards[subject]})
        except Conflict:  # another recorder has appended one, or what was there has expired
            await self._read(subject)
            return
        self._published[subject].add(one.entry.sequence)
        log.warning(
            "message %d on %s is %s: %s",
            one.entry.sequence,
            one.entry.subject,
            one.reason,
            one.error,
            extra={"action": "dead_letter", "sequence": one.entry.sequence},
        )

    async def _read(self, subject: str) -> None:
        """Read the dead letters that have been appended since the last read."""
        guard = await self._log.last_sequence(subject)
        for entry in await self._log.read([subject], after=self._guards.get(subject, 0), until=guard):
            if isinstance(entry, Stored) and isinstance(entry.envelope.data, DeadLettered):
                self._published[subject].add(entry.envelope.data.sequence)
        self._guards[subject] = guard


def _event(one: DeadLetter) -> Envelope:
    dead = DeadLettered(
        service=Recorder.name,
        reason=one.reason,
        sequence=one.entry.sequence,
        subject=one.entry.subject,
        error=one.error,
    )
    return envelope(dead, id=id_of(dead), source=Recorder.name, time=one.entry.stored_at)


async def _uncancelled(work: object) -> None:
    task = asyncio.ensure_future(work)  # type: ignore[arg-type, var-annotated]
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
