"""The recorder's shell: follows everything and writes it to SQL; its position moves in the same transaction."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from sqlalchemy.exc import DBAPIError

from bus.envelope import Entry, Stored, Unreadable, envelope
from bus.errors import Conflict, ForeignStream
from bus.log import Log
from schemas.events import DeadLettered
from services import database
from services.hosting import Subscribe
from services.recorder.projection import batches, project
from services.recorder.store import Store

log = logging.getLogger(__name__)

DEAD = "dead.recorder.malformed"


class Recorder:
    """Projects all events into the tables."""

    name = "recorder"

    def __init__(self, database_url: str, *, store: Store | None = None) -> None:
        """`store`: where to write instead of the database at the URL."""
        self._database_url = database_url
        self._given = store

    async def open(self, log: Log, subscribe: Subscribe) -> None:
        del subscribe  # nothing to subscribe: the recorder follows
        self._log = log
        self._store = self._given or await self._opened()
        self._stream = await log.identity()
        try:
            self._position = await self._store.position(self._stream)
        except ForeignStream:
            await self._store.close()
            raise
        self._buried, self._guard = 0, 0
        for entry in await log.latest([DEAD]):
            self._guard = entry.sequence
            if isinstance(entry, Stored) and isinstance(entry.envelope.data, DeadLettered):
                self._buried = entry.envelope.data.sequence

    async def _opened(self) -> Store:
        await database.prepare(self._database_url)
        return Store(database.writer(self._database_url))

    async def run(self) -> None:
        try:
            async for batch in self._log.follow([">"], after=self._position):
                if batch.entries:
                    # a statement that is cancelled keeps the write lock until it ends: writing is never cancelled
                    await _uncancelled(self._record(batch.entries, batch.position))
        finally:
            await asyncio.shield(self._store.close())

    async def _record(self, entries: list[Entry], position: int) -> None:
        await self._bury(entry for entry in entries if isinstance(entry, Unreadable))
        try:
            for batch in batches(entries):
                await self._store.apply(project(batch), self._stream, batch[-1].sequence)
        except DBAPIError as error:
            cause = str(error.__cause__ or error).splitlines()[0]
            raise RuntimeError(
                f"the tables cannot be written, and stay at message {self._position:,}: {cause}. The log has all that "
                "is missing: see to the database (is its disk full?), and start the recorder again"
            ) from error
        self._position = position

    async def _bury(self, unreadable: Iterable[Unreadable]) -> None:
        """Say on the log which messages could not be read, each once: before the position passes them."""
        for entry in unreadable:
            if entry.sequence <= self._buried or entry.unknown_type or entry.subject.startswith("dead."):
                continue
            log.warning(
                "message %d on %s is unreadable: %s",
                entry.sequence,
                entry.subject,
                entry.error,
                extra={"action": "dead_letter", "sequence": entry.sequence},
            )
            dead = DeadLettered(
                service=self.name,
                reason="malformed",
                sequence=entry.sequence,
                subject=entry.subject,
                error=entry.error,
            )
            sent = envelope(dead, id=f"dead:{entry.sequence}", source=self.name, time=entry.stored_at)
            try:
                self._guard = await self._log.append([sent], expect={DEAD: self._guard})
            except Conflict:
                # another recorder said so, or this one before it crashed
                self._guard = await self._log.last_sequence(DEAD)
            self._buried = entry.sequence


async def _uncancelled(work: object) -> None:
    task = asyncio.ensure_future(work)  # type: ignore[arg-type, var-annotated]
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
