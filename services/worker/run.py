"""A backup that this worker holds."""

from __future__ import annotations

import asyncio

from services.consuming import Delivery
from services.worker.engines.engine import Result
from services.worker.record import Record


class Lost(Exception):
    """The attempt does not count any more: a newer one has begun, or the backup has ended without it."""


class Stopping(Exception):
    """This worker is going down."""


class Run:
    """A backup that this worker holds: its record, the delivery that is its own, and the engine at work on it."""

    def __init__(self, record: Record, delivery: Delivery) -> None:
        self.record = record
        self.request = record.request
        self.delivery = delivery
        self.engine: asyncio.Task[Result] | None = None
        self.lost = False  # no report and no sign of life any more

    def lose(self) -> None:
        """Stop the engine, as what it does counts for nothing."""
        self.lost = True
        self.stop()

    def stop(self) -> None:
        """Stop the engine, if it is at work."""
        if self.engine is not None:
            self.engine.cancel()
