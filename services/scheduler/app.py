"""The scheduler's shell: the one place where time becomes events. Any number of them may run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from bus.clock import Clock, now
from bus.connection import worker_name
from bus.envelope import Entry, Stored, envelope
from bus.errors import Unavailable, Unknown
from bus.log import Log
from schemas.commands import PruneHistory
from schemas.events import FlowDue
from services.checkpoints import Checkpoints
from services.deciding import RETRY_PAUSE, Decider
from services.decision import Batch, Decision
from services.hosting import Subscribe
from services.scheduler.domain import State, decide, evolve, evolve_deadlines, outdated

log = logging.getLogger(__name__)

OUTCOMES = ("flow.due.*", "flow.missed.*")
DEFINITIONS = ("catalog.flow.*", "catalog.schedule.*", "catalog.policy.*", "catalog.settings.*")
EXECUTIONS = ("command.flow.execute", "command.execution.retry", "flow.*.*")
LONGEST_SLEEP = timedelta(seconds=60)  # a clock that was set is noticed within this time
PRUNINGS = "command.history.prune"
PRUNE_EVERY = timedelta(days=1)
HORIZON = timedelta(days=390)  # a little less than activity stays on the log
MAX_OFFSET = timedelta(seconds=30)  # of this clock from the log's: with more, nothing is emitted
OFFSET_PAUSE = 10.0  # seconds before a clock that is off is checked again


class Scheduler:
    """Turns time into `flow.due`, `flow.missed` and `flow.overdue`."""

    name = "scheduler"

    reads: Sequence[str] = (*DEFINITIONS, *EXECUTIONS)

    def __init__(
        self,
        clock: Clock = now,
        *,
        id: str | None = None,  # noqa: A002
        max_offset: timedelta | None = MAX_OFFSET,
    ) -> None:
        self._clock = clock
        self._max_offset = max_offset
        self._pruned: datetime | None = None
        self._id = id or worker_name()
        self._refusing = False
        self._checked_at = float("-inf")  # the loop's time when the clock was last compared with the log's
        self._state = State(horizon=clock() - HORIZON)
        self.set_aside = self._state.set_aside

    async def open(self, log: Log, subscribe: Subscribe) -> None:
        del subscribe  # nothing to subscribe: the scheduler follows
        self._log = log
        # what is before the executor's checkpoint is over: no deadline of it can still be missed
        over, self._state.deadlines.processed = await Checkpoints(log, "executor").load()
        start = (await log.identity()).last_sequence
        # all versions of what decides when flows run: an occurrence of before a change may still be due
        self.set_aside.fold(self._evolve, await log.read(DEFINITIONS, until=start))
        for entry in await log.latest(OUTCOMES, until=start):
            await self._account(entry, start)
        self.set_aside.fold(self._evolve_execution, await log.read(EXECUTIONS, after=over, until=start))
        for entry in await log.latest([PRUNINGS]):
            if isinstance(entry, Stored):
                self._pruned = entry.envelope.time
        self._decider = Decider(log, self, start=start, clock=self._clock, before=self._before)

    async def _account(self, entry: Entry, until: int) -> None:
        """Take in the last outcome of a flow's occurrences; when that does not count, all outcomes before it."""
        if not isinstance(entry, Stored):
            return
        counts = False

        def account(last: Entry) -> None:
            nonlocal counts
            counts = self._counts(last)

        self.set_aside.fold(account, [entry])
        if not counts:
            self.set_aside.fold(self._evolve, await self._log.read([entry.subject], until=until))

    def _counts(self, entry: Entry) -> bool:
        """Take in an outcome; return whether it counts, and with it all that were before."""
        self._evolve(entry)
        event = entry.envelope.data if isinstance(entry, Stored) else None
        return not (
            isinstance(event, FlowDue)
            and isinstance(entry, Stored)
            and outdated(self._state, event, entry.envelope.decidedon)
        )

    def _evolve(self, entry: Entry) -> None:
        if isinstance(entry, Stored):
            evolve(self._state, entry)

    def _evolve_execution(self, entry: Entry) -> None:
        if isinstance(entry, Stored):
            if isinstance(entry.envelope.data, FlowDue):
                evolve(self._state, entry)  # one that is not a flow's last may have been skipped as outdated
            evolve_deadlines(self._state, entry)

    @property
    def position(self) -> int:
        return self._decider.position

    async def run(self) -> None:
        await self._decider.run()

    def evolve(self, entry: Entry) -> None:
        if isinstance(entry, Stored):
            evolve(self._state, entry)
            evolve_deadlines(self._state, entry)

    def decide(self, at: datetime) -> Sequence[Batch]:
        return [[Decision(event=event, time=at) for event in events] for events in decide(self._state, at)]

    def wake_at(self, at: datetime) -> datetime | None:
        return min(self._state.wake_at or at + LONGEST_SLEEP, at + LONGEST_SLEEP)

    async def _before(self, due: bool) -> float | None:
        unchecked = asyncio.get_running_loop().time() - self._checked_at
        if due or self._refusing or unchecked > LONGEST_SLEEP.total_seconds():
            try:
                if not await self._trusted():
                    return OFFSET_PAUSE
            except Unavailable as error:
                log.warning("%s", error, extra={"action": "append_retry", "part": self.name})
                return RETRY_PAUSE
        if not due:
            await self._prune()
        return None

    async def _prune(self) -> None:
        """Command once a day that history older than `keep_days` is pruned."""
        at, keep_days = self._clock(), self._state.catalogue.settings.keep_days
        if keep_days is None or (self._pruned is not None and at - self._pruned < PRUNE_EVERY):
            return
        command = PruneHistory(id="history", before=at - timedelta(days=keep_days))
        sent = envelope(command, id=f"prune:{at:%Y-%m-%d}", source=self.name, time=at, actor=self.name)
        try:
            await self._log.publish_once(sent)
            self._pruned = at
        except (Unavailable, Unknown) as error:
            log.warning("%s", error, extra={"action": "append_retry", "part": self.name})

    async def _trusted(self) -> bool:
        """Tell whether this clock agrees with the log's. One that does not must fire nothing.

        Raises `Unavailable`.
        """
        if self._max_offset is None:
            return True
        offset = self._clock() - await self._log.time()
        self._checked_at = asyncio.get_running_loop().time()
        refusing = abs(offset) > self._max_offset
        if refusing:
            log.error(
                "this clock is %.0f s off the log's: nothing is fired until it is right again",
                offset.total_seconds(),
                extra={"action": "clock_off", "part": self.name, "offset_seconds": offset.total_seconds()},
            )
        if refusing or self._refusing:
            status = {"refusing": refusing, "offset_seconds": offset.total_seconds()}
            with suppress(Unavailable):
                await self._log.put_status(f"clock.{self._id}", status)
        self._refusing = refusing
        return not refusing
