"""A backup that this worker holds."""

from __future__ import annotations

import asyncio

from bus.envelope import Stored
from schemas.events import BackupRequested
from services.consuming import Delivery
from services.worker.domain import Attempts
from services.worker.engines.engine import Result


class Lost(Exception):
    """The attempt does not count any more: a newer one has begun, or the backup has ended without it."""


class Stopping(Exception):
    """This worker is going down."""


class Run:
    """A backup that this worker holds: its request, the delivery that is its own, and the engine at work on it."""

    def __init__(self, entry: Stored, request: BackupRequested, delivery: Delivery) -> None:
        self.entry = entry
        self.request = request
        self.delivery = delivery
        self.attempt = 0  # 0 until one has begun
        self.engine: asyncio.Task[Result] | None = None
        self.lost = False  # no sign of life any more; whether its own end counts is found by reading that back

    def lost_by(self, worker: str, attempts: Attempts) -> bool:
        """Tell whether the log says that a worker's attempt is over: by its own end, or because it is lost."""
        return self.attempt > 0 and attempts.lost(self.request.backup_id, self.attempt, worker)

    def stop(self) -> None:
        """Stop the engine, if it is at work."""
        if self.engine is not None:
            self.engine.cancel()
