"""Signs of life: to the server for each message that is worked on, and to other workers in a note beside the log."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from bus.errors import Unavailable
from bus.log import Log
from schemas.events import BackupRequested
from services.worker import note
from services.worker.domain import Attempts
from services.worker.history import History
from services.worker.run import Run, Stopping

NOTE_PAUSE = 1.0  # seconds between two notes at least
NOTE_KEPT = 3600.0  # seconds for which a dead worker's note stays for operators to see
TIDY_EVERY = 600.0  # seconds between looks for notes of dead workers


class Presence:
    """Shows that this worker lives and what it holds, and tells what other live workers hold.

    `held` are its runs by backup. `lease`: seconds of silence after which a worker counts as dead.
    """

    def __init__(
        self,
        log: Log,
        worker: str,
        *,
        slots: int,
        engines: list[str],
        held: Mapping[str, Run],
        history: History,
        lease: float,
    ) -> None:
        self._log = log
        self._worker = worker
        self._slots = slots
        self._engines = engines
        self._held = held
        self._history = history
        self._lease = lease
        self._changed = asyncio.Event()
        self._writing = asyncio.Lock()
        self._written: dict[str, Any] = {}

    def parts(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """Return what is to run for as long as this worker lives."""
        return self._keep_alive(), self._keep_note(), self._tidy()

    def changed(self) -> None:
        """Note what is held soon: it has changed."""
        self._changed.set()

    async def write(self, *, again: bool = True) -> None:
        """Write the note now; unless `again`, only if it has changed. Raises `Unavailable`."""
        async with self._writing:
            mine = note.WorkerNote(
                slots=self._slots,
                holding=sorted(backup_id for backup_id, run in self._held.items() if not run.lost),
                engines=self._engines,
                position=self._history.position,
            )
            value = msgspec.to_builtins(mine)
            if again or value != self._written:
                await self._log.note(note.key_of(self._worker), value)
                self._written = value

    async def held_elsewhere(self, request: BackupRequested, attempts: Attempts) -> float:
        """Return in how many seconds another worker that is at work on a backup will be taken for dead; 0: none is.

        Raises `Unavailable`.
        """
        attempt = attempts.begun.get(request.backup_id)
        if attempt is None or attempt.over or attempt.worker == self._worker:
            return 0
        theirs, at = await self._log.read_note(note.key_of(attempt.worker)), await self._log.time()
        return note.silent_in(attempt, request.backup_id, theirs, now=at, lease=self._lease)

    async def _keep_alive(self) -> None:
        """Tell the server again and again that the messages are being worked on."""
        while True:
            await asyncio.sleep(self._lease / 3)  # a missed one does not lose the message
            if self._log.is_connected:
                with suppress(Unavailable, Stopping):
                    await self._extend()

    async def _extend(self) -> None:
        if any(run.delivery.expired for run in self._held.values()):
            await self._history.caught_up()  # what was lost meanwhile is abandoned by now
        for run in list(self._held.values()):
            await run.delivery.extend()

    async def _keep_note(self) -> None:
        """Write the note at every change and every few seconds."""
        while True:
            self._changed.clear()
            with suppress(Unavailable):
                await self.write()
            await asyncio.sleep(NOTE_PAUSE)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), max(0.0, self._lease / 6 - NOTE_PAUSE))

    async def _tidy(self) -> None:
        """Remove the notes of workers that have been dead for long."""
        while True:
            with suppress(Unavailable):
                notes, at = await self._log.notes(note.PREFIX), await self._log.time()
                for key in note.outdated(notes, now=at, keep=NOTE_KEPT):
                    await self._log.remove_note(key)
            await asyncio.sleep(TIDY_EVERY)
