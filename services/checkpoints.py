"""Checkpoints: from where on a service has to read the log again when it starts. A shortcut, never a fact."""

from __future__ import annotations

import logging

from bus.errors import Unavailable
from bus.log import Log
from services.answered import Answered

log = logging.getLogger(__name__)

EVERY = 2000  # messages
PART = 100_000  # ids of answered commands in one part


class Checkpoints:
    """A service's checkpoints: the position before the oldest thing that is not over, and which commands are."""

    def __init__(self, log: Log, name: str) -> None:
        self._log = log
        self._name = name
        self._saved = 0  # the position
        self._kept = 0  # ids in parts that are saved

    async def load(self) -> tuple[int, Answered]:
        """Return the position, and the commands that were answered by then. 0: everything is to be read."""
        found = await self._log.checkpoint(self._name)
        answered = Answered()
        loaded = 0
        while loaded < found.answered:
            part = await self._log.checkpoint_part(self._name, loaded // PART)
            count = answered.load(part, min(PART, found.answered - loaded))
            if not count:
                return 0, Answered()
            loaded += count
        self._saved, self._kept = found.position, loaded
        return found.position, answered

    async def save(self, position: int, answered: Answered) -> None:
        """Save a position now and then. Failing does no harm: more is read at the next start."""
        if position < self._saved + EVERY:
            return
        count = answered.count(position)
        try:
            for start in range(self._kept - self._kept % PART, count, PART):
                await self._log.save_checkpoint_part(
                    self._name, start // PART, answered.part(start, min(start + PART, count))
                )
            await self._log.save_checkpoint(self._name, position, answered=count)
            self._kept = count
        except Unavailable as error:
            log.warning("no checkpoint: %s", error, extra={"action": "checkpoint_failed", "part": self._name})
        self._saved = position
