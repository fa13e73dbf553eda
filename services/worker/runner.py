"""One attempt at a backup: whether it is this worker's to make, the engine at work, and how it ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress

from bus.envelope import fault_of
from bus.errors import Unavailable, Unknown
from schemas.base import brief
from schemas.events import (
    AttemptEvent,
    BackupCancelled,
    BackupCompleted,
    BackupFailed,
    BackupOrphaned,
    BackupRetrying,
    BackupStarted,
)
from services.consuming import Ack, Nack, Outcome
from services.worker import progress
from services.worker.domain import End
from services.worker.engines.engine import BackupError, Engine, Progress, Result
from services.worker.history import History
from services.worker.presence import Presence
from services.worker.reports import Reports
from services.worker.run import Lost, Run, Stopping

log = logging.getLogger(__name__)


class Runner:
    """Makes attempts at backups in the name of one worker. `stopping` is set when that goes down."""

    def __init__(
        self,
        worker: str,
        engines: Mapping[str, Engine],
        *,
        history: History,
        presence: Presence,
        reports: Reports,
        stopping: asyncio.Event,
    ) -> None:
        self._worker = worker
        self._engines = engines
        self._history = history
        self._presence = presence
        self._reports = reports
        self._stopping = stopping

    async def run(self, run: Run) -> Outcome:
        """Make an attempt at a backup, and return what is to become of its message. Raises `Stopping`."""
        try:
            return await self._attempt(run)
        except Lost:
            run.delivery.abandon()  # an acknowledgement would count for whoever has the message now
            log.warning(
                "backup %s is not this worker's any more",
                run.request.backup_id,
                extra={"action": "backup_lost", "backup_id": run.request.backup_id},
            )
            if (end := self._history.attempts.ended.get(run.request.backup_id)) is not None:
                await self._discard(run, end)
            return None
        except (Unavailable, Unknown) as error:
            log.warning("%s", error, extra={"action": "report_retry", "part": "worker"})
            return Nack()

    async def _attempt(self, run: Run) -> Outcome:
        """Make one attempt: acknowledged when the backup has ended, sent back for the next attempt otherwise.

        Raises `Lost` when the attempt does not count.
        """
        request = run.request
        attempts = await self._history.of(run)
        if (end := attempts.ended.get(request.backup_id)) is not None:
            # it came again because an acknowledgement was lost, or was closed by the executor
            if end.snapshot_ref is None:
                await self._discard(run, end)
            return Ack()
        if attempts.withdrawn(request.backup_id, run.entry.sequence):
            return Ack()
        if (silent_in := await self._presence.held_elsewhere(request, attempts)) > 0:
            return Nack(delay=min(silent_in + 0.5, run.delivery.lease / 3))
        number = attempts.next_attempt(request.backup_id)
        if reason := attempts.stop_reason(request):
            return await self._conclude(run, BackupCancelled.of(request, attempt=number, reason=reason))
        begun = await self._reports.report(run, BackupStarted.of(request, attempt=number, worker=self._worker))
        attempts = await self._history.of(run, begun)
        withdrawn = attempts.withdrawn(request.backup_id, run.entry.sequence)
        if withdrawn or attempts.lost(request.backup_id, number, self._worker):
            raise Lost
        run.attempt = number
        return await self._conclude(run, await self._work(run))

    async def _work(self, run: Run) -> AttemptEvent:
        """Let the engine work, and return how the attempt ended. Raises `Lost`, `Stopping`."""
        request = run.request
        try:
            async with progress.reported(run, self._reports) as queue:
                result = await self._backup(run, queue)
        except BackupError as error:
            return _failure(run, str(error))
        except TimeoutError:
            return _failure(run, f"not finished within {request.timeout_seconds} s (the policy's timeout_seconds)")
        except asyncio.CancelledError:
            if run.lost:
                raise Lost from None
            if reason := self._history.attempts.stop_reason(request):
                return BackupCancelled.of(request, attempt=run.attempt, reason=reason)
            if self._stopping.is_set():
                raise Stopping from None  # another worker takes it
            raise
        except Exception as error:
            log.exception("engine %s failed", request.engine, extra={"action": "engine_bug"})
            return _failure(run, f"the engine {request.engine!r} failed: {type(error).__name__}: {error}")
        completed = BackupCompleted.of(
            request,
            attempt=run.attempt,
            bytes_read=result.bytes_read,
            bytes_transferred=result.bytes_transferred,
            snapshot_ref=result.snapshot_ref,
        )
        if fault := fault_of(self._reports.envelope(run, completed)):  # it would be nobody's end
            return _failure(run, f"the engine {request.engine!r} returned what cannot be reported: {fault}")
        return completed

    async def _backup(self, run: Run, queue: asyncio.Queue[Progress]) -> Result:
        request = run.request
        engine = self._engines.get(request.engine)
        if engine is None:
            raise BackupError(f"this worker has no engine {request.engine!r}; it has {', '.join(self._engines)}")
        run.engine = asyncio.create_task(engine.backup(request, run.attempt, queue.put_nowait))
        try:
            return await asyncio.wait_for(run.engine, request.timeout_seconds)
        finally:
            run.engine = None

    async def _conclude(self, run: Run, event: AttemptEvent) -> Outcome:
        """Report how an attempt ended, and read back whether that counts. Returns and raises as `_attempt`."""
        if run.delivery.expired:
            await self._history.caught_up()
        if run.lost:
            raise Lost
        sequence = await self._reports.report(run, event)
        attempts = await self._history.of(run, sequence)
        if isinstance(event, BackupRetrying):
            if run.lost_by(self._worker, self._history.attempts):
                raise Lost
            return Nack(delay=float(event.delay_seconds))
        end = attempts.ended.get(run.request.backup_id)
        if end is None or end.sequence != sequence:
            raise Lost
        if end.snapshot_ref is None:
            await self._discard(run, end)
        return Ack()

    async def _discard(self, run: Run, end: End) -> None:
        """Remove what attempts at a backup that has ended left behind: all but the success that counts."""
        request = run.request
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
            with suppress(Unavailable, Unknown):
                await self._reports.report(run, BackupOrphaned.of(request, error=brief(str(error))))


def _failure(run: Run, error: str) -> BackupRetrying | BackupFailed:
    """Return what a failed attempt is: one of several, or the last."""
    request, attempt, error = run.request, run.attempt, brief(error)
    if attempt <= request.retry_attempts:
        return BackupRetrying.of(request, attempt=attempt, error=error, delay_seconds=request.retry_delay_seconds)
    return BackupFailed.of(request, attempt=attempt, error=error)
