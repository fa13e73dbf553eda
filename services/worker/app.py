"""The worker's shell: takes `backup.requested` with a free slot, runs an engine, and reports what became of it.

Whether a backup is to run was decided by the executor, and each message is the whole of the work. What has been done
about it already, the log tells: deliveries may come again, and the server's count of them does not survive its crash.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any

from bus.clock import now
from bus.connection import worker_name
from bus.envelope import Entry, Envelope, Stored, envelope
from bus.errors import Unavailable, Unknown
from bus.log import Log
from bus.stream import WORKER_QUEUE
from bus.tasks import ended
from schemas.base import Value
from schemas.events import (
    AttemptEvent,
    BackupCancelled,
    BackupCompleted,
    BackupFailed,
    BackupProgressed,
    BackupRequested,
    BackupRetrying,
    BackupStarted,
)
from services.hosting import Delivery, Subscribe
from services.worker.domain import Attempts, Report, evolve
from services.worker.engines import ENGINES
from services.worker.engines.engine import BackupError, Engine, Progress, Result

log = logging.getLogger(__name__)

REPORTS = "backup.*.*"
STOPS = ("flow.cancelling.*", "flow.completed.*")
HEARTBEAT = WORKER_QUEUE.ack_wait / 3  # seconds between signs of life; a missed one does not lose the message
PROGRESS_EVERY = 1.0  # seconds
RETRY_DELAY = 2.0  # seconds before a message comes again when the log could not be reached


class _Lost(Exception):
    """Another worker has taken this backup over, as this one was thought dead, or the executor has closed it."""


class _Run(Value, frozen=True, kw_only=True):
    """An engine at work."""

    request: BackupRequested
    attempt: int


class Worker:
    """Runs one backup engine for each VM, `slots` at a time."""

    name = "worker"

    def __init__(self, *, slots: int = 4, engines: Mapping[str, Engine] = ENGINES) -> None:
        self._slots = slots
        self._engines = engines
        self._id = worker_name()
        self._running: dict[asyncio.Task[Result], _Run] = {}
        self._attempts = Attempts()
        self._position = 0
        self._moved = asyncio.Condition()
        self._stopping = False

    async def open(self, log: Log, subscribe: Subscribe) -> None:
        self._log = log
        self._position = await log.acknowledged(WORKER_QUEUE)
        self._attempts = Attempts(since=self._position)
        # engines work in threads, one for each slot
        asyncio.get_running_loop().set_default_executor(
            ThreadPoolExecutor(self._slots + 4, thread_name_prefix="engine")
        )
        subscribe(WORKER_QUEUE, self.handle, slots=self._slots)

    async def run(self) -> None:
        """Follow what all workers report."""
        try:
            async for batch in self._log.follow([REPORTS, *STOPS], after=self._position):
                _fold(self._attempts, batch.entries)
                for task, run in self._running.items():
                    if self._attempts.stop_reason(run.request) or self._lost(self._attempts, run.request, run.attempt):
                        task.cancel()
                async with self._moved:
                    self._position = batch.position
                    self._moved.notify_all()
        finally:
            self._stopping = True
            for task in self._running:
                task.cancel()

    async def handle(self, delivery: Delivery) -> None:
        """Do one backup. A message that is no request is left to the recorder's dead letters."""
        if self._stopping:
            await delivery.message.nack(delay=RETRY_DELAY)
            return
        entry = delivery.entry
        if isinstance(entry, Stored) and isinstance(entry.envelope.data, BackupRequested):
            try:
                delay = await self._attempt(delivery, entry, entry.envelope.data)
            except _Lost:
                log.warning(
                    "backup %s is another worker's by now",
                    entry.envelope.data.backup_id,
                    extra={"action": "backup_lost", "backup_id": entry.envelope.data.backup_id},
                )
                return  # the message too: an answer from here would count as the other one's
            except (Unavailable, Unknown) as error:
                log.warning("%s", error, extra={"action": "report_retry", "part": self.name})
                delay = RETRY_DELAY
            if delay is not None:
                await delivery.message.nack(delay=delay)
                return
        await delivery.message.ack_sync()

    async def _attempt(self, delivery: Delivery, entry: Stored, request: BackupRequested) -> float | None:
        """Make one attempt. Returns None when the backup has ended, else the seconds until the next attempt.

        Raises `_Lost` when another worker has it.
        """
        attempts = await self._history(entry)
        if request.backup_id in attempts.ended:
            return None  # it was redelivered for a lost answer only, or closed by the executor
        attempt = attempts.next_attempt(request.backup_id)
        if reason := attempts.stop_reason(request):
            await self._report(entry, BackupCancelled(**_about(request, attempt), reason=reason))
            return None
        begun = await self._report(entry, BackupStarted(**_about(request, attempt), worker=self._id))
        attempts = await self._history(entry, begun)
        if request.backup_id in attempts.ended:
            return None
        if self._lost(attempts, request, attempt):
            raise _Lost
        async with self._alive(delivery), self._progress(entry, request, attempt) as progress:
            try:
                result = await self._backup(request, attempt, progress)
            except BackupError as error:
                return await self._failed(entry, request, attempt, str(error))
            except TimeoutError:
                error = f"not finished within {request.timeout_seconds} s (the policy's timeout_seconds)"
                return await self._failed(entry, request, attempt, error)
            except asyncio.CancelledError:
                if reason := self._attempts.stop_reason(request):
                    await self._report(entry, BackupCancelled(**_about(request, attempt), reason=reason))
                    return None
                if self._lost(self._attempts, request, attempt):
                    raise _Lost from None
                if self._stopping:
                    return RETRY_DELAY  # this worker is going down: another one takes it
                raise
            except Exception as error:
                log.exception("engine %s failed", request.engine, extra={"action": "engine_bug"})
                message = f"the engine {request.engine!r} failed: {type(error).__name__}: {error}"
                return await self._failed(entry, request, attempt, message)
        completed = BackupCompleted(
            **_about(request, attempt),
            bytes_read=result.bytes_read,
            bytes_transferred=result.bytes_transferred,
            snapshot_ref=result.snapshot_ref,
        )
        await self._report(entry, completed)
        return None

    async def _backup(self, request: BackupRequested, attempt: int, progress: asyncio.Queue[Progress]) -> Result:
        engine = self._engines.get(request.engine)
        if engine is None:
            raise BackupError(f"this worker has no engine {request.engine!r}; it has {', '.join(self._engines)}")
        work = asyncio.create_task(engine.backup(request, attempt, progress.put_nowait))
        self._running[work] = _Run(request=request, attempt=attempt)
        try:
            return await asyncio.wait_for(work, request.timeout_seconds)
        finally:
            del self._running[work]

    async def _failed(self, entry: Stored, request: BackupRequested, attempt: int, error: str) -> float | None:
        if attempt <= request.retry_attempts:
            delay = request.retry_delay_seconds
            retrying = BackupRetrying(**_about(request, attempt), error=error, delay_seconds=delay)
            await self._report(entry, retrying)
            return float(delay)
        await self._report(entry, BackupFailed(**_about(request, attempt), error=error))
        return None

    async def _history(self, entry: Stored, until: int | None = None) -> Attempts:
        """Return what the log says of a request's backup, now or at least until a sequence."""
        last = await self._log.last_sequence(REPORTS) if until is None else until
        async with self._moved:
            await self._moved.wait_for(lambda: self._position >= last)
        if entry.sequence <= self._attempts.since:
            return _fold(Attempts(), await self._log.read([REPORTS, *STOPS], after=entry.sequence))
        return self._attempts

    def _lost(self, attempts: Attempts, request: BackupRequested, attempt: int) -> bool:
        return attempts.lost(request.backup_id, attempt, self._id)

    @asynccontextmanager
    async def _alive(self, delivery: Delivery) -> AsyncIterator[None]:
        """Tell the server again and again that the message is being worked on."""

        async def beat() -> None:
            while True:
                await asyncio.sleep(HEARTBEAT)
                await delivery.message.in_progress()

        task = asyncio.create_task(beat())
        try:
            yield
        finally:
            await ended(task)

    @asynccontextmanager
    async def _progress(
        self, entry: Stored, request: BackupRequested, attempt: int
    ) -> AsyncIterator[asyncio.Queue[Progress]]:
        """Report progress at most once a second, and only when the per cent has moved."""
        queue: asyncio.Queue[Progress] = asyncio.Queue()

        async def report() -> None:
            reported = 0
            while True:
                latest = await queue.get()
                while not queue.empty():
                    latest = queue.get_nowait()
                if latest.percent <= reported:
                    continue
                reported = latest.percent
                progressed = BackupProgressed(
                    **_about(request, attempt),
                    percent=latest.percent,
                    bytes_read=latest.bytes_read,
                    bytes_transferred=latest.bytes_transferred,
                )
                with suppress(Unavailable, Unknown):  # the next one says more
                    await self._report(entry, progressed)
                await asyncio.sleep(PROGRESS_EVERY)

        task = asyncio.create_task(report())
        try:
            yield queue
        finally:
            await ended(task)

    async def _report(self, entry: Stored, event: AttemptEvent) -> int:
        return await self._log.ask(self._envelope(entry, event))

    def _envelope(self, entry: Stored, event: AttemptEvent) -> Envelope:
        at = now()
        kind = str(event.__struct_config__.tag).removeprefix("backup.")
        id_ = f"{kind}:{event.backup_id}:{event.attempt}"
        if isinstance(event, BackupProgressed):
            id_ += f":{event.percent}"
        return envelope(
            event,
            id=id_,
            source=f"{self.name}/{self._id}",
            time=at,
            correlationid=event.execution_id,
            causationid=entry.envelope.id,
        )


def _fold(attempts: Attempts, entries: Sequence[Entry]) -> Attempts:
    for entry in entries:
        if isinstance(entry, Stored) and isinstance(entry.envelope.data, Report):
            evolve(attempts, entry.envelope.data, entry.sequence)
    return attempts


def _about(request: BackupRequested, attempt: int) -> dict[str, Any]:
    return {
        "flow_id": request.flow_id,
        "execution_id": request.execution_id,
        "backup_id": request.backup_id,
        "context_id": request.context_id,
        "attempt": attempt,
    }
