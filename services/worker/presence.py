"""Signs of life: to the server for each message that is worked on, and to other workers in a status beside the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from bus.errors import Unavailable
from bus.log import Log
from schemas.events import BackupRequested
from services.health import expired
from services.worker import status
from services.worker.domain import Attempt
from services.worker.history import History
from services.worker.run import Run

STATUS_PAUSE = 1.0  # seconds between two publications at least
STATUS_KEPT = 3600.0  # seconds for which a dead worker's status stays for operators to see
TIDY_EVERY = 600.0  # seconds between searches for the status of dead workers


class Presence:
    """Shows that this worker lives and what it holds, and tells what other live workers hold.

    `enrolment`: the name that it is enrolled by, under whose keys it publishes, and no others; None: under any.
    `held` are its runs by backup; `looked` is called when the log has been asked about them. `lease`: seconds of
    silence after which a worker counts as dead.
    """

    def __init__(
        self,
        log: Log,
        worker: str,
        *,
        slots: int,
        engines: list[str],
        labels: Mapping[str, str],
        held: Mapping[str, Run],
        history: History,
        looked: Callable[[], None],
        lease: float,
        enrolment: str | None = None,
    ) -> None:
        self._log = log
        self._worker = worker
        self._slots = slots
        self._engines = engines
        self._labels = dict(labels)
        self._enrolment = enrolment
        self._held = held
        self._history = history
        self._looked = looked
        self._lease = lease
        self._changed = asyncio.Event()
        self._publishing = asyncio.Lock()
        self._published: dict[str, Any] = {}

    def parts(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """Return what is to run for as long as this worker lives."""
        return self._keep_alive(), self._keep_status(), self._tidy()

    def changed(self) -> None:
        """Publish what is held soon: it has changed."""
        self._changed.set()

    async def publish(self, *, again: bool = True) -> None:
        """Publish the status now; unless `again`, only if it has changed. Raises `Unavailable`."""
        async with self._publishing:
            mine = status.WorkerStatus(
                slots=self._slots,
                holding=sorted(backup_id for backup_id, run in self._held.items() if not run.lost),
                engines=self._engines,
                labels=self._labels,
                enrolment=self._enrolment,
                position=self._history.position,
            )
            value = msgspec.to_builtins(mine)
            if again or value != self._published:
                await self._log.put_status(status.key_of(self._worker), value)
                self._published = value

    async def leave(self) -> None:
        """Say that this worker takes nothing more: it has no slots. Raises `Unavailable`."""
        self._slots = 0
        if self._log.is_connected:
            await self.publish()

    async def held_elsewhere(self, request: BackupRequested, attempt: Attempt | None) -> float:
        """Return in how many seconds the worker that makes an attempt will be taken for dead; 0: no other one does.

        Raises `Unavailable`.
        """
        if attempt is None or attempt.over or attempt.worker == self._worker:
            return 0
        theirs, at = await self._log.get_status(status.key_of(attempt.worker)), await self._log.time()
        return status.silent_in(attempt, request.backup_id, theirs, now=at, lease=self._lease)

    async def _keep_alive(self) -> None:
        """Tell the server again and again that the messages are being worked on."""
        while True:
            await asyncio.sleep(self._lease / 3)  # a missed one does not lose the message
            if self._log.is_connected:
                with suppress(Unavailable):
                    await self._extend()

    async def _extend(self) -> None:
        """Extend the deliveries of what is not lost: each one's own backup is asked about before."""
        begun = [run for run in self._held.values() if run.record.attempt]
        await asyncio.gather(*(self._history.look(run.record) for run in begun))
        self._looked()
        for run in [run for run in self._held.values() if not run.lost]:
            await run.delivery.extend()

    async def _keep_status(self) -> None:
        """Publish the status at every change and every few seconds."""
        while True:
            self._changed.clear()
            with suppress(Unavailable):
                await self.publish()
            await asyncio.sleep(STATUS_PAUSE)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), max(0.0, self._lease / 6 - STATUS_PAUSE))

    async def _tidy(self) -> None:
        """Delete the status of workers that have been dead for long."""
        prefix = status.PREFIX + (f"{self._enrolment}." if self._enrolment else "")
        while True:
            with suppress(Unavailable):
                statuses, at = await self._log.statuses(prefix), await self._log.time()
                for key in expired(statuses, now=at, keep=STATUS_KEPT):
                    await self._log.delete_status(key)
            await asyncio.sleep(TIDY_EVERY)
