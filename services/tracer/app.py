"""The tracer's shell: follows the log, and exports the spans that have ended by OTLP.

It decides nothing and appends nothing. After a restart it reads again from where the oldest open span began, and
exports only what ended after its last export; a receiver that is down is tried again, and nothing is skipped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress

from bus.errors import Unavailable
from bus.log import Log
from services.hosting import Subscribe
from services.tracer.domain import READS, Span, State, evolve

log = logging.getLogger(__name__)

FLOOR, EXPORTED = "tracer", "tracer_exported"  # checkpoints: from where to read, and up to where spans were exported
LOT = 512  # spans in one export
PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)  # seconds before an export is tried again; then always the last one
SAVE_EVERY = 10.0  # seconds between checkpoints

Export = Callable[[Sequence[Span]], str | None]
"""Sends spans, and returns why that failed, None when it did not. It may block: it is called in a thread."""


class Tracer:
    """Exports one trace for each execution."""

    name = "tracer"
    reads: Sequence[str] = READS

    def __init__(self, export: Export) -> None:
        self._export = export
        self._state = State()
        self._position = self._exported = 0
        self._saved = float("-inf")  # when a checkpoint was saved, by the loop's time

    async def open(self, log: Log, subscribe: Subscribe) -> None:
        del subscribe
        self._log = log
        self._position = (await log.checkpoint(FLOOR)).position
        self._exported = max(self._position, (await log.checkpoint(EXPORTED)).position)

    @property
    def position(self) -> int:
        return self._position

    async def run(self) -> None:
        async with aclosing(self._log.follow(self.reads, after=self._position)) as pages:
            async for page in pages:
                spans: list[Span] = []
                for entry in page.entries:
                    ended = evolve(self._state, entry)
                    if entry.sequence > self._exported:
                        spans += ended
                for start in range(0, len(spans), LOT):
                    await self._send(spans[start : start + LOT])
                self._position = page.position
                self._exported = max(self._exported, page.position)
                await self._save()

    async def _send(self, spans: Sequence[Span]) -> None:
        """Export spans, however long their receiver is down: what follows waits on the log."""
        tries = 0
        while (reason := await asyncio.to_thread(self._export, spans)) is not None:
            pause = PAUSES[min(tries, len(PAUSES) - 1)]
            about = {"action": "export_failed", "part": self.name}
            log.warning("%d spans are not exported, again in %.0f s: %s", len(spans), pause, reason, extra=about)
            await asyncio.sleep(pause)
            tries += 1

    async def _save(self) -> None:
        time = asyncio.get_running_loop().time()
        if time - self._saved < SAVE_EVERY:
            return
        oldest = self._state.oldest
        floor = self._position if oldest is None else min(self._position, oldest - 1)
        with suppress(Unavailable):
            await self._log.save_checkpoint(EXPORTED, self._exported)
            await self._log.save_checkpoint(FLOOR, floor)
            self._saved = time
