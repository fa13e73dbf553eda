"""One attempt at a backup: whether it is this worker's to make, the engine at work, and how it ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress

from bus.envelope import fault_of
from bus.errors import Conflict, Unavailable, Unknown
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
from services.worker.followed import Followed
from services.worker.history import History
from services.worker.outbox import Kept, Outbox
from services.worker.presence import Presence
from services.worker.record import Record
from services.worker.reports import Reports
from services.worker.run import Lost, Run, Stopping

log = logging.getLogger(__name__)

AGAIN = 0.5  # seconds before an outcome is reported again


class Runner:
    """Makes attempts at backups in the name of one worker. `stopping` is set when that goes down."""

    def __init__(
        self,
        worker: str,
        engines: Mapping[str, Engine],
        *,
        history: History,
        followed: Followed,
        presence: Presence,
        reports: Reports,
        outbox: Outbox,
        stopping: asyncio.Event,
    ) -> None:
        self._worker = worker
        self._engines = engines
        self._history = history
        self._followed = followed
        self._outbox = outbox
        self._presence = presence
        self._reports = reports
        self._stopping = stopping

    async def run(self, run: Run) -> Outcome:
        """Make an attempt at a backup, and return what is to become of its message. Raises `Stopping`."""
        record = run.record
        try:
            await self._history.begin(record)
            return await self._attempt(run)
        except Lost:
            run.delivery.abandon()  # an acknowledgement would count for whoever has the message now
            log.warning(
                "backup %s is not this worker's any more",
                run.request.backup_id,
                extra={"action": "backup_lost", "backup_id": run.request.backup_id},
            )
            if record.backup.end is not None:
                await self._discard(record, record.backup.end)
                await self._outbox.settle(record)
            return None
        except (Unavailable, Unknown) as error:
            log.warning("%s", error, extra={"action": "report_retry", "part": "worker"})
            return Nack()

    async def settle(self, kept: Kept) -> None:
        """Report an outcome that was kept, or see that nothing of it stays if it does not count any more.

        It goes on being kept while another attempt is at work. Raises `Unavailable`, `Unknown`.
        """
        record = kept.record
        await self._history.begin(record)
        with suppress(Lost):
            await self._reports.conclude(record, kept.sent)
        end = record.backup.end
        if end is None and record.lost:
            return
        if end is not None and (end.snapshot_ref is None or end.source != record.source):
            await self._discard(record, end)
        await self._outbox.drop(kept)

    async def _attempt(self, run: Run) -> Outcome:
        """Make one attempt: acknowledged when the backup has ended, sent back for the next attempt otherwise.

        Raises `Lost` when the attempt does not count, `Stopping`, `Unavailable`, `Unknown`.
        """
        request, record = run.request, run.record
        while True:
            backup = record.backup
            if backup.end is not None:
                # it came again because an acknowledgement was lost, or was closed by the executor
                if backup.end.snapshot_ref is None:
                    await self._discard(record, backup.end)
                return Ack()
            if backup.abandoned >= record.entry.sequence:
                return Ack()  # another request follows, perhaps for other workers
            if (silent_in := await self._presence.held_elsewhere(request, backup.attempt)) > 0:
                return Nack(delay=min(silent_in + 0.5, run.delivery.lease / 3))
            number, reason = backup.next_attempt, self._followed.reason(request)
            try:
                if reason:
                    await self._reports.report(record, BackupCancelled.of(request, attempt=number, reason=reason))
                    continue
                await self._reports.report(record, BackupStarted.of(request, attempt=number, worker=self._worker))
                return await self._conclude(run, await self._work(run))
            except Conflict:
                await self._history.look(record)

    async def _work(self, run: Run) -> AttemptEvent:
        """Let the engine work, and return how the attempt ended. Raises `Lost`, `Stopping`."""
        request = run.request
        try:
            async with progress.reported(run, self._reports, self._history) as queue:
                result = await self._backup(run, queue)
        except BackupError as error:
            return _failure(run, str(error))
        except TimeoutError:
            return _failure(run, f"not finished within {request.timeout_seconds} s (the policy's timeout_seconds)")
        except asyncio.CancelledError:
            if run.lost:
                raise Lost from None
            if reason := self._followed.reason(request):
                return BackupCancelled.of(request, attempt=run.record.attempt, reason=reason)
            if self._stopping.is_set():
                raise Stopping from None  # another worker takes it
            raise
        except Exception as error:
            log.exception("engine %s failed", request.engine, extra={"action": "engine_bug"})
            return _failure(run, f"the engine {request.engine!r} failed: {type(error).__name__}: {error}")
        completed = BackupCompleted.of(
            request,
            attempt=run.record.attempt,
            bytes_read=result.bytes_read,
            bytes_transferred=result.bytes_transferred,
            snapshot_ref=result.snapshot_ref,
        )
        if fault := fault_of(self._reports.envelope(run.record, completed)):  # it would be nobody's end
            return _failure(run, f"the engine {request.engine!r} returned what cannot be reported: {fault}")
        return completed

    async def _backup(self, run: Run, queue: asyncio.Queue[Progress]) -> Result:
        request = run.request
        engine = self._engines.get(request.engine)
        if engine is None:
            raise BackupError(f"this worker has no engine {request.engine!r}; it has {', '.join(self._engines)}")
        run.engine = asyncio.create_task(engine.backup(request, run.record.attempt, queue.put_nowait))
        try:
            return await asyncio.wait_for(run.engine, request.timeout_seconds)
        finally:
            run.engine = None

    async def _conclude(self, run: Run, event: AttemptEvent) -> Outcome:
        """Report how an attempt ended. While the log cannot be reached, that is kept, and reported as soon as it can.

        Returns and raises as `_attempt`.
        """
        record, sent = run.record, self._reports.envelope(run.record, event)
        kept = False
        while True:
            try:
                await self._reports.conclude(record, sent)
                break
            except (Unavailable, Unknown) as error:
                if not kept:
                    about = {"action": "outcome_kept", "backup_id": run.request.backup_id}
                    log.warning(
                        "what became of backup %s is reported later: %s", run.request.backup_id, error, extra=about
                    )
                    await self._outbox.keep(record, sent)
                    kept = True
                if await self._stops_within(AGAIN):
                    raise Stopping from error  # the next process reports it
        await self._outbox.settle(record)
        if isinstance(event, BackupRetrying):
            return Nack(delay=float(event.delay_seconds))
        if record.backup.end is not None and record.backup.end.snapshot_ref is None:
            await self._discard(record, record.backup.end)
        return Ack()

    async def _stops_within(self, seconds: float) -> bool:
        """Wait; return whether this worker is to end."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()

    async def _discard(self, record: Record, end: End) -> None:
        """Remove what attempts at a backup that has ended left behind: all but the success that counts."""
        request = record.request
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
                await self._reports.note(record, BackupOrphaned.of(request, error=brief(str(error))))


def _failure(run: Run, error: str) -> BackupRetrying | BackupFailed:
    """Return what a failed attempt is: one of several, or the last."""
    request, attempt, error = run.request, run.record.attempt, brief(error)
    if attempt <= request.retry_attempts:
        return BackupRetrying.of(request, attempt=attempt, error=error, delay_seconds=request.retry_delay_seconds)
    return BackupFailed.of(request, attempt=attempt, error=error)
