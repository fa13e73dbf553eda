"""The notifier's shell: tells people. Any number of them may run.

It knows the time as the scheduler does (docs/adr/0028): a message goes out of the engine, and each decision on one is
on the log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from bus.clock import Clock, now
from bus.connection import worker_name
from bus.envelope import Entry, Stored
from bus.log import Log
from bus.tasks import together
from schemas.events import Event, FlowCompleted
from services.checkpoints import Checkpoints
from services.deciding import Decider
from services.decision import Batch
from services.health import key_of
from services.hosting import Subscribe
from services.notifier import domain
from services.notifier.delivery import Deliveries
from services.notifier.domain import CLAIMS, COMPLETIONS, DEFINITIONS, MESSAGES, READS, State
from services.notifier.sending import PACE, Pace, Sending
from services.notifier.tester import Tester


class Notifier:
    """Tells people what notifications say. `instance`: what a supervisor calls this process, also after a restart."""

    name = "notifier"
    reads: Sequence[str] = READS

    def __init__(
        self,
        deliveries: Deliveries | None = None,
        *,
        instance: str | None = None,
        clock: Clock = now,
        pace: Pace = PACE,
    ) -> None:
        self._deliveries = deliveries or Deliveries()
        self._holder = key_of(self.name, instance or worker_name())
        self._clock = clock
        self._pace = pace
        self._state = State()
        self.set_aside = self._state.set_aside
        self._sending: Sending | None = None

    async def open(self, log: Log, subscribe: Subscribe) -> None:
        del subscribe  # nothing to subscribe: the notifier follows
        self._checkpoints = Checkpoints(log, self.name)
        start, self._state.processed = await self._checkpoints.load()
        if start:
            # as they were then: what comes after is judged by them
            await self._read_completions(log, start)
            for some in ([CLAIMS], DEFINITIONS):
                self.set_aside.fold(self.evolve, await log.latest(some, until=start))
        # nothing is sent before it is known what became of all that was due
        self._known = await log.last_sequence(MESSAGES)
        self._decider = Decider(log, self, start=start, clock=self._clock, before=self._save)
        self._sending = Sending(
            log,
            self._state,
            self._deliveries,
            self._observe,
            holder=self._holder,
            clock=self._clock,
            pace=self._pace,
            ready=lambda: self._decider.position >= self._known,
        )
        self._tester = Tester(self._deliveries, self._state.catalogue.notifications.get, self._clock)
        await self._tester.open(log)

    async def _read_completions(self, log: Log, start: int) -> None:
        """Take in how each flow ended last; of one that was cancelled, how it ended before."""
        for entry in await log.latest([COMPLETIONS], until=start):
            if not isinstance(entry, Stored) or not isinstance(entry.envelope.data, FlowCompleted):
                continue
            if domain.turn_of(self._state, entry.envelope.data).failed is None:
                for earlier in await log.read([entry.subject], until=start):
                    if isinstance(earlier, Stored) and isinstance(earlier.envelope.data, FlowCompleted):
                        domain.turn_of(self._state, earlier.envelope.data)

    @property
    def position(self) -> int:
        return self._decider.position

    async def run(self) -> None:
        assert self._sending is not None
        try:
            await together(self._decider.run(), self._sending.run())
        finally:
            await self._tester.close()

    async def _observe(self, event: Event, holds: Callable[[], bool]) -> bool:
        return await self._decider.observe(event, holds=holds)

    def evolve(self, entry: Entry) -> None:
        try:
            domain.evolve(self._state, entry)
        finally:
            if self._sending is not None:
                self._sending.wake()

    def decide(self, at: datetime) -> Sequence[Batch]:
        return domain.decide(self._state, at)

    def wake_at(self, at: datetime) -> datetime | None:
        return domain.wake_at(self._state, at)

    async def _save(self, due: bool) -> None:
        """Save a checkpoint: what is before the oldest message that waits need not be read again."""
        if not due:
            oldest = self._state.oldest
            position = self._decider.position if oldest is None else oldest - 1
            await self._checkpoints.save(position, self._state.processed)
