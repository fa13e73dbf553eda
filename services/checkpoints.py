"""Checkpoints: from where on a service has to read the log again when it starts. A shortcut, never a fact."""

from __future__ import annotations

import logging

from bus.errors import Unavailable
from bus.log import Log
from services.processed import ProcessedIds

log = logging.getLogger(__name__)

EVERY = 2000  # messages
PART = 100_000  # ids in one part


class Checkpoints:
    """A service's checkpoints: the position before the oldest thing that is not over, and the ids processed by then."""

    def __init__(self, log: Log, name: str) -> None:
        self._log = log
        self._name = name
        self._saved = 0  # the position
        self._kept = 0  # ids in parts that are saved

    async def load(self) -> tuple[int, ProcessedIds]:
        """Return the position, and the ids processed by then. With position 0 all of the log is to be read."""
        found = await self._log.checkpoint(self._name)
        processed = ProcessedIds()
        loaded = 0
        while loaded < found.processed:
            part = await self._log.checkpoint_part(self._name, loaded // PART)
            count = processed.load(part, min(PART, found.processed - loaded))
            if not count:
                return 0, ProcessedIds()
            loaded += count
        self._saved, self._kept = found.position, loaded
        return found.position, processed

    async def save(self, position: int, processed: ProcessedIds) -> None:
        """Save a position now and then. Failing does no harm: more is read at the next start."""
        if position < self._saved + EVERY:
            return
        count = processed.count(position)
        try:
            for start in range(self._kept - self._kept % PART, count, PART):
                await self._log.save_checkpoint_part(
                    self._name, start // PART, processed.part(start, min(start + PART, count))
                )
            await self._log.save_checkpoint(self._name, position, processed=count)
            self._kept = count
        except Unavailable as error:
            log.warning("no checkpoint: %s", error, extra={"action": "checkpoint_failed", "part": self._name})
        self._saved = position
