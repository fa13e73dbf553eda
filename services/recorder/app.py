"""The recorder's shell: follows everything and writes it to SQL; its position moves in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

from sqlalchemy.exc import DBAPIError

from bus.envelope import Entry
from bus.log import Log
from bus.tasks import uninterrupted
from services.dead_letters import DeadLetters
from services.hosting import Subscribe
from services.recorder.store import Store, position_on


class Recorder:
    """Projects all events into the tables. What cannot be projected becomes a dead letter on the log."""

    name = "recorder"
    reads: Sequence[str] = (">",)

    def __init__(self, store: Store) -> None:
        self._store = store

    async def open(self, log: Log, subscribe: Subscribe) -> None:
        del subscribe  # nothing to subscribe: the recorder follows
        self._dead_letters = DeadLetters(log, self.name)
        self._log = log
        self._position, self._stream = await position_on(log, self._store)

    @property
    def position(self) -> int:
        return self._position

    async def run(self) -> None:
        async with aclosing(self._log.follow(self.reads, after=self._position)) as pages:
            async for batch in pages:
                if batch.entries:
                    # a statement that is cancelled keeps the write lock until it ends: writing is never cancelled
                    await uninterrupted(self._record(batch.entries, batch.position))

    async def close(self) -> None:
        await self._store.close()

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
