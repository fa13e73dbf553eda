"""The worker's shell: takes `backup.requested` with a free slot, runs an engine, and reports what became of it.

Whether a backup is to run was decided by the executor, and each message is the whole of the work. What has been done
about it already, the log tells: deliveries may come again, and the server's count of them does not survive its crash.

An attempt owns its messages (ADR "An attempt owns its delivery"). The server takes an answer to a message for whoever
has it just now, so a worker that has lost its attempt stays silent: it reports nothing, answers nothing, and gives no
sign of life. It finds out by following the log; by looking there before it speaks when it was silent for longer than
its lease; and for certain by reading back what it has said.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec

from bus.clock import Clock, now
from bus.connection import worker_name
from bus.envelope import Entry, Envelope, Stored, envelope
from bus.errors import Unavailable, Unknown
from bus.log import Log
from bus.stream import WORKER_QUEUE
from bus.subjects import id_of
from bus.tasks import cancel_and_wait
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
from services.worker import status
from services.worker.domain import Attempts, End, Report, evolve
from services.worker.engines.engine import BackupError, Engine, Progress, Result
from services.worker.engines.loading import load

log = logging.getLogger(__name__)

REPORTS = "backup.*.*"
STOPS = ("flow.cancelling.*", "flow.completed.*")
PROGRESS_EVERY = 1.0  # seconds
RETRY_DELAY = 2.0  # seconds before a message comes again when the log could not be reached
STATUS_PAUSE = 1.0  # seconds between two publications at least
STATUS_KEPT = 3600.0  # seconds for which a dead worker's status stays for operators to see
TIDY_EVERY = 600.0  # seconds between searches for the status of dead workers
PAGE = 10_000  # places on the log that are read at once when a request is from long ago


class _Lost(Exception):
    """The attempt does not count any more: a newer one has begun, or the backup has ended without it."""


class _Stopping(Exception):
    """This worker is going down."""


class _Run:
    """A backup that this worker holds: its messages, and the engine at work on it."""

    def __init__(self, entry: Stored, request: BackupRequested, delivery: Delivery, at: float) -> None:
        self.entry = entry
        self.request = request
        self.deliveries = {entry.sequence: delivery}  # by place on the log: the newest of each message
        self.attempt = 0  # 0 until one has begun
        self.engine: asyncio.Task[Result] | None = None
        self.renewed = at  # by the event loop's clock: the lease runs from here
        self.lost = False
        self.reported = asyncio.Event()  # its slot is free; what is reported is still to be read back and answered


class Worker:
    """Runs one backup engine for each VM, `slots` at a time. `worker_id` is its own among all that run at once."""

    name = "worker"

    def __init__(
        self,
        *,
        slots: int = 4,
        engines: Mapping[str, Engine] | None = None,
        clock: Clock = now,
        worker_id: str | None = None,
    ) -> None:
        self._slots = slots
        self._engines = load() if engines is None else engines
        self._clock = clock
        self._id = worker_id or worker_name()
        self._lease = WORKER_QUEUE.ack_wait
        self._held: dict[str, _Run] = {}  # by backup
        self._attempts = Attempts()
        self._position = 0
        self._moved = asyncio.Event()
        self._changed = asyncio.Event()
        self._publishing = asyncio.Lock()
        self._published: dict[str, Any] = {}
        self._stopping = False

    async def open(self, log: Log, subscribe: Subscribe) -> None:
        self._log = log
        self._past = _Past(log)
        # a backup that was requested again has attempts that are older than its message, and not older than these
        self._position = min(await log.acknowledged(WORKER_QUEUE), (await log.checkpoint("executor")).position)
        self._attempts = Attempts(since=self._position)
        subscribe(WORKER_QUEUE, self.handle, slots=self._slots)

    async def run(self) -> None:
        """Follow what all workers report, and let them know that this one lives."""
        parts = (self._follow(), self._keep_alive(), self._keep_status(), self._tidy())
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._stopping = True
            self._moved.set()
            for run in self._held.values():
                if run.engine is not None:
                    run.engine.cancel()
            await cancel_and_wait(*tasks)

    async def _follow(self) -> None:
        async for batch in self._log.follow([REPORTS, *STOPS], after=self._position):
            _fold(self._attempts, batch.entries)
            self._position = batch.position
            for run in self._held.values():
                run.lost = run.lost or self._is_lost(run)
                if run.engine is not None and (run.lost or self._attempts.stop_reason(run.request)):
                    run.engine.cancel()
            moved, self._moved = self._moved, asyncio.Event()
            moved.set()

    # --- one backup ---------------------------------------------------------------------------------------------------

    async def handle(self, delivery: Delivery) -> None:
        """Do one backup. A message that is no request is left to the recorder's dead letters."""
        entry = delivery.entry
        if not (isinstance(entry, Stored) and isinstance(entry.envelope.data, BackupRequested)):
            await delivery.message.ack_sync()
            return
        request = entry.envelope.data
        if (held := self._held.get(request.backup_id)) is not None:
            held.deliveries[entry.sequence] = delivery  # who is at work on the backup answers this one too
            return
        if self._stopping:
            await delivery.message.nack(delay=RETRY_DELAY)
            return
        run = self._held[request.backup_id] = _Run(entry, request, delivery, _loop_time())
        self._changed.set()
        holding = asyncio.create_task(self._hold(run))
        holding.add_done_callback(lambda task: self._let_go(run, task))
        try:
            await run.reported.wait()
        finally:
            if not run.reported.is_set():
                await cancel_and_wait(holding)

    def _let_go(self, run: _Run, task: asyncio.Task[None]) -> None:
        del self._held[run.request.backup_id]
        self._changed.set()
        run.reported.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning(
                "the request for backup %s was not answered, and comes again: %s",
                run.request.backup_id,
                error or type(error).__name__,
                extra={"action": "answer_failed", "backup_id": run.request.backup_id},
            )

    async def _hold(self, run: _Run) -> None:
        """Make an attempt at a backup, and answer its messages while they are this worker's to answer."""
        delay: float | None = RETRY_DELAY
        try:
            delay = await self._attempt(run)
        except _Lost:
            log.warning(
                "backup %s is not this worker's any more",
                run.request.backup_id,
                extra={"action": "backup_lost", "backup_id": run.request.backup_id},
            )
            if (end := self._attempts.ended.get(run.request.backup_id)) is not None:
                await self._discard(run.request, end)
            return  # and the messages are left alone: an answer would count for whoever has them now
        except _Stopping:
            run.lost = True  # so the last status does not claim it
            with suppress(Unavailable):
                await self._publish(again=False)
        except (Unavailable, Unknown) as error:
            log.warning("%s", error, extra={"action": "report_retry", "part": self.name})
        if delay is not None and self._lease_is_over(run):
            return  # they come again by themselves
        while run.deliveries:
            _, delivery = run.deliveries.popitem()
            if delay is None:
                await delivery.message.ack_sync()
            else:
                await delivery.message.nack(delay=delay)

    async def _attempt(self, run: _Run) -> float | None:
        """Make one attempt. Returns None when the backup has ended, else the seconds until its messages come again.

        Raises `_Lost` when the attempt does not count.
        """
        request = run.request
        attempts = await self._history(run)
        if (end := attempts.ended.get(request.backup_id)) is not None:
            # it came again for a lost answer only, or was closed by the executor
            if end.snapshot_ref is None:
                await self._discard(request, end)
            return None
        if (silent_in := await self._held_elsewhere(request, attempts)) > 0:
            return min(silent_in + 0.5, self._lease / 3)
        number = attempts.next_attempt(request.backup_id)
        if reason := attempts.stop_reason(request):
            return await self._conclude(run, BackupCancelled.of(request, attempt=number, reason=reason))
        begun = await self._report(run.entry, BackupStarted.of(request, attempt=number, worker=self._id))
        attempts = await self._history(run, begun)
        if attempts.lost(request.backup_id, number, self._id):
            raise _Lost
        run.attempt = number
        return await self._conclude(run, await self._work(run))

    async def _held_elsewhere(self, request: BackupRequested, attempts: Attempts) -> float:
        """Return in how many seconds another worker that is at work on a backup will be taken for dead; 0: none is."""
        attempt = attempts.begun.get(request.backup_id)
        if attempt is None or attempt.over or attempt.worker == self._id:
            return 0
        theirs, at = await self._log.get_status(status.key_of(attempt.worker)), await self._log.time()
        return status.silent_in(attempt, request.backup_id, theirs, now=at, lease=self._lease)

    async def _work(self, run: _Run) -> AttemptEvent:
        """Let the engine work, and return how the attempt ended. Raises `_Lost`, `_Stopping`."""
        request = run.request
        try:
            async with self._progress(run) as progress:
                result = await self._backup(run, progress)
        except BackupError as error:
            return _failure(run, str(error))
        except TimeoutError:
            return _failure(run, f"not finished within {request.timeout_seconds} s (the policy's timeout_seconds)")
        except asyncio.CancelledError:
            if run.lost:
                raise _Lost from None
            if reason := self._attempts.stop_reason(request):
                return BackupCancelled.of(request, attempt=run.attempt, reason=reason)
            if self._stopping:
                raise _Stopping from None  # another worker takes it
            raise
        except Exception as error:
            log.exception("engine %s failed", request.engine, extra={"action": "engine_bug"})
            return _failure(run, f"the engine {request.engine!r} failed: {type(error).__name__}: {error}")
        return BackupCompleted.of(
            request,
            attempt=run.attempt,
            bytes_read=result.bytes_read,
            bytes_transferred=result.bytes_transferred,
            snapshot_ref=result.snapshot_ref,
        )

    async def _backup(self, run: _Run, progress: asyncio.Queue[Progress]) -> Result:
        request = run.request
        engine = self._engines.get(request.engine)
        if engine is None:
            raise BackupError(f"this worker has no engine {request.engine!r}; it has {', '.join(self._engines)}")
        run.engine = asyncio.create_task(engine.backup(request, run.attempt, progress.put_nowait))
        try:
            return await asyncio.wait_for(run.engine, request.timeout_seconds)
        finally:
            run.engine = None

    async def _conclude(self, run: _Run, event: AttemptEvent) -> float | None:
        """Report how an attempt ended, and read back whether that counts. Returns and raises as `_attempt`."""
        if self._lease_is_over(run):
            await self._caught_up()
        if run.lost:
            raise _Lost
        sequence = await self._report(run.entry, event)
        run.reported.set()
        attempts = await self._history(run, sequence)
        if isinstance(event, BackupRetrying):
            if self._is_lost(run):
                raise _Lost
            return float(event.delay_seconds)
        end = attempts.ended.get(run.request.backup_id)
        if end is None or end.sequence != sequence:
            raise _Lost
        if end.snapshot_ref is None:
            await self._discard(run.request, end)
        return None

    async def _discard(self, request: BackupRequested, end: End) -> None:
        """Remove what attempts at a backup that has ended left behind: all but the success that counts."""
        engine = self._engines.get(request.engine)
        if engine is None or not end.begun:
            return
        try:
            await engine.discard(request, keep=end.snapshot_ref)
        except BackupError as error:
            log.warning(
                "backup %s has ended, and what is left of it cannot be removed: %s. Remove it by hand",
                request.backup_id,
                error,
                extra={"action": "discard_failed", "backup_id": request.backup_id},
            )

    # --- what the log says --------------------------------------------------------------------------------------------

    async def _history(self, run: _Run, until: int | None = None) -> Attempts:
        """Return what the log says of a request's backup, now or at least until a sequence."""
        await self._caught_up(until)
        if self._attempts.knows(run.request.backup_id, run.entry.sequence):
            return self._attempts
        return await self._past.read(run.entry, run.request.backup_id, until=self._position)

    async def _caught_up(self, until: int | None = None) -> None:
        """Return when all has been read that is on the log, now or up to a sequence."""
        last = await self._log.last_sequence(REPORTS) if until is None else until
        while self._position < last:
            if self._stopping:
                raise _Stopping
            await self._moved.wait()

    def _is_lost(self, run: _Run) -> bool:
        return run.attempt > 0 and self._attempts.lost(run.request.backup_id, run.attempt, self._id)

    # --- signs of life ------------------------------------------------------------------------------------------------

    def _lease_is_over(self, run: _Run) -> bool:
        """Tell whether this worker has been silent for so long that the server may have given its message away."""
        return _loop_time() - run.renewed > self._lease

    async def _keep_alive(self) -> None:
        """Tell the server again and again that the messages are being worked on."""
        while True:
            await asyncio.sleep(self._lease / 3)  # a missed one does not lose the message
            if self._log.is_connected:
                with suppress(Unavailable, _Stopping):
                    await self._renew()

    async def _renew(self) -> None:
        if any(self._lease_is_over(run) for run in self._held.values()):
            await self._caught_up()
        for run in [run for run in self._held.values() if not run.lost]:
            for delivery in list(run.deliveries.values()):
                await delivery.message.in_progress()
            run.renewed = _loop_time()

    async def _keep_status(self) -> None:
        """Pin up what this worker holds, at every change and every few seconds."""
        while True:
            self._changed.clear()
            with suppress(Unavailable):
                await self._publish()
            await asyncio.sleep(STATUS_PAUSE)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), max(0.0, self._lease / 6 - STATUS_PAUSE))

    async def _publish(self, *, again: bool = True) -> None:
        async with self._publishing:
            mine = status.WorkerStatus(
                slots=self._slots,
                holding=sorted(backup_id for backup_id, run in self._held.items() if not run.lost),
                engines=sorted(self._engines),
                position=self._position,
            )
            value = msgspec.to_builtins(mine)
            if again or value != self._published:
                await self._log.put_status(status.key_of(self._id), value)
                self._published = value

    async def _tidy(self) -> None:
        """Delete the status of workers that have been dead for long."""
        while True:
            with suppress(Unavailable):
                statuses, at = await self._log.statuses(status.PREFIX), await self._log.time()
                for key in status.outdated(statuses, now=at, keep=STATUS_KEPT):
                    await self._log.delete_status(key)
            await asyncio.sleep(TIDY_EVERY)

    # --- reports ------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _progress(self, run: _Run) -> AsyncIterator[asyncio.Queue[Progress]]:
        """Report progress at most once a second, and only when the per cent has moved."""
        queue: asyncio.Queue[Progress] = asyncio.Queue()

        async def report() -> None:
            reported = 0
            while True:
                latest = await queue.get()
                while not queue.empty():
                    latest = queue.get_nowait()
                if latest.percent <= reported or run.lost or self._lease_is_over(run):
                    continue
                reported = latest.percent
                progressed = BackupProgressed.of(
                    run.request,
                    attempt=run.attempt,
                    percent=latest.percent,
                    bytes_read=latest.bytes_read,
                    bytes_transferred=latest.bytes_transferred,
                )
                with suppress(Unavailable, Unknown):  # the next one says more
                    await self._report(run.entry, progressed)
                await asyncio.sleep(PROGRESS_EVERY)

        task = asyncio.create_task(report())
        try:
            yield queue
        finally:
            await cancel_and_wait(task)

    async def _report(self, entry: Stored, event: AttemptEvent) -> int:
        return await self._log.publish_once(self._envelope(entry, event))

    def _envelope(self, entry: Stored, event: AttemptEvent) -> Envelope:
        return envelope(
            event,
            id=id_of(event),
            source=f"{self.name}/{self._id}",
            time=self._clock(),
            correlationid=event.execution_id,
            causationid=entry.envelope.id,
        )


class _Past:
    """What the log says of requests from before all that a worker follows.

    A consumer that was made anew delivers everything again, in order: so the past is read once, forwards, and no
    further than the backup's end.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._attempts: Attempts | None = None
        self._position = 0
        self._reading = asyncio.Lock()

    async def read(self, entry: Stored, backup_id: str, *, until: int) -> Attempts:
        """Return what the log says up to a sequence of a backup that was requested there, or up to its end."""
        async with self._reading:
            attempts = self._attempts
            if attempts is None or not attempts.knows(backup_id, entry.sequence):
                attempts = self._attempts = Attempts(since=entry.sequence - 1)
                self._position = entry.sequence - 1
            while backup_id not in attempts.ended and self._position < until:
                page = min(self._position + PAGE, until)
                _fold(attempts, await self._log.read([REPORTS, *STOPS], after=self._position, until=page))
                self._position = page
            return attempts


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def _fold(attempts: Attempts, entries: Sequence[Entry]) -> Attempts:
    for entry in entries:
        if isinstance(entry, Stored) and isinstance(entry.envelope.data, Report):
            evolve(attempts, entry.envelope.data, entry.sequence)
    return attempts


def _failure(run: _Run, error: str) -> BackupRetrying | BackupFailed:
    """Return what a failed attempt is: one of several, or the last."""
    request, attempt = run.request, run.attempt
    if attempt <= request.retry_attempts:
        return BackupRetrying.of(request, attempt=attempt, error=error, delay_seconds=request.retry_delay_seconds)
    return BackupFailed.of(request, attempt=attempt, error=error)
