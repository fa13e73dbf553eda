"""The scheduler's shell: the one place that reads the clock. It sleeps until the next occurrence or the next event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from bus.clock import now
from bus.connection import worker_name
from bus.envelope import Entry, Envelope, Stored, envelope
from bus.errors import Conflict, Unavailable, Unknown
from bus.log import Batch, Log
from bus.subjects import guard_of, subject_of
from bus.tasks import ended
from schemas.commands import PruneHistory
from schemas.events import FlowDue, FlowMissed
from schemas.ids import instant, scheduled_execution_id
from services.hosting import Subscribe
from services.scheduler import deadlines
from services.scheduler.domain import Said, State, decide, evolve

log = logging.getLogger(__name__)

OUTCOMES = ("flow.due.*", "flow.missed.*", "flow.overdue.*")
CALENDARS = ("catalog.flow.*", "catalog.schedule.*", "catalog.policy.*")
EXECUTIONS = (
    *("command.flow.execute", "command.execution.retry"),
    *(f"flow.{event}.*" for event in ("due", "overdue", "started", "skipped", "cancelling", "completed")),
)
READS = (*CALENDARS, "flow.missed.*", *EXECUTIONS)
LONGEST_SLEEP = 60.0  # seconds: a clock that was set is noticed within this time
RETRY_PAUSE = 1.0  # seconds before deciding again when the log could not be reached
AT_ONCE = 200  # flows whose appends are under way at the same time
TOGETHER = 500  # messages in one atomic batch: with more, one flow that a rival was faster at holds up many
PRUNINGS = "command.history.prune"
PRUNE_EVERY = timedelta(days=1)
HORIZON = timedelta(days=390)  # a little less than activity stays on the log
MAX_OFFSET = timedelta(seconds=30)  # of this clock from the log's: with more, nothing is said
OFFSET_PAUSE = 10.0  # seconds before a clock that is off is looked at again


class Scheduler:
    """Turns time into `flow.due`, `flow.missed` and `flow.overdue`."""

    name = "scheduler"

    def __init__(
        self,
        clock: Callable[[], datetime] = now,
        *,
        max_offset: timedelta | None = MAX_OFFSET,
        keep: timedelta | None = None,
    ) -> None:
        self._clock = clock
        self._max_offset = max_offset
        self._keep = keep
        self._pruned: datetime | None = None
        self._id = worker_name()
        self._refusing = False
        self._looked_at = float("-inf")  # the loop's time when the clock was last compared with the log's
        self._state = State(horizon=clock() - HORIZON)
        self._guards: dict[str, int] = {}
        self._position = 0

    async def open(self, log: Log, subscribe: Subscribe) -> None:
        del subscribe  # nothing to subscribe: the scheduler follows
        self._log = log
        # what the executor has done with is over: no deadline of before its checkpoint can still be missed
        over = await log.checkpoint("executor")
        self._position = (await log.identity()).last_sequence
        for entry in await log.latest(OUTCOMES):
            self._take(entry)
        # all versions of what decides when flows run: an occurrence of before a change may still be owed
        for entry in await log.read(CALENDARS, until=self._position):
            self._take(entry)
        for entry in await log.read(EXECUTIONS, after=over, until=self._position):
            self._watch(entry)
        for entry in await log.latest([PRUNINGS]):
            if isinstance(entry, Stored):
                self._pruned = entry.envelope.time

    async def run(self) -> None:
        news: asyncio.Queue[Batch | None] = asyncio.Queue()
        listener = asyncio.create_task(self._listen(news))
        caught_up = False  # nothing is said before all has been heard
        try:
            while not listener.done():
                pause = await self._fire() if caught_up else None
                with suppress(TimeoutError):
                    batch = await asyncio.wait_for(news.get(), pause)
                    if batch is not None:
                        caught_up = batch.caught_up
                        for entry in batch.entries:
                            self._take(entry)
                            self._watch(entry)
            listener.result()
        finally:
            await ended(listener)

    async def _listen(self, news: asyncio.Queue[Batch | None]) -> None:
        try:
            async for batch in self._log.follow(READS, after=self._position):
                news.put_nowait(batch)
        finally:
            news.put_nowait(None)  # wakes the one who sleeps: without news nothing is fired

    async def _fire(self) -> float:
        """Append what is due and return the seconds to sleep, if nothing happens."""
        decided = decide(self._state, self._clock())
        looked_at = asyncio.get_running_loop().time() - self._looked_at
        if (decided or self._refusing or looked_at > LONGEST_SLEEP) and not await self._trusted():
            return OFFSET_PAUSE
        gate = asyncio.Semaphore(AT_ONCE)
        for together in _batches(decided):
            if len(together) > 1 and await self._append([event for events in together for event in events]):
                continue
            await asyncio.gather(*(self._append_alone(events, gate) for events in together))
        if decide(self._state, self._clock()):
            return RETRY_PAUSE  # what was refused: another scheduler's word is on its way here, and wakes this one
        await self._prune()
        wake_at = self._state.wake_at
        if wake_at is None:
            return LONGEST_SLEEP
        return min(max((wake_at - self._clock()).total_seconds(), 0.0), LONGEST_SLEEP)

    async def _prune(self) -> None:
        """Ask once a day to let go of the history that is older than it is to be kept."""
        at = self._clock()
        if self._keep is None or (self._pruned is not None and at - self._pruned < PRUNE_EVERY):
            return
        command = PruneHistory(id="history", before=at - self._keep)
        sent = envelope(command, id=f"prune:{at:%Y-%m-%d}", source=self.name, time=at, actor=self.name)
        try:
            await self._log.ask(sent)
            self._pruned = at
        except (Unavailable, Unknown) as error:
            log.warning("%s", error, extra={"action": "append_retry", "part": self.name})

    async def _append(self, events: Sequence[Said]) -> bool:
        """Append events together; return whether it was done. Not when another scheduler was first at any of them."""
        guards = self._expected(events)
        try:
            said = [self._envelope(event) for event in events]
            last = await self._log.append(said, expect=guards)
        except Conflict:
            return False
        except (Unavailable, Unknown) as error:
            log.warning("%s", error, extra={"action": "append_retry", "part": self.name})
            return True
        # the guards say that nothing came between: the state takes its own words without reading them back
        for sequence, one in enumerate(said, start=last - len(said) + 1):
            self._guards[subject_of(one.data)] = sequence
            evolve(self._state, one)
            deadlines.evolve(self._state.deadlines, one, self._state.catalogue)
        return True

    async def _append_alone(self, events: Sequence[Said], gate: asyncio.Semaphore) -> None:
        """Append what is owed to one flow."""
        async with gate:
            if not await self._append(events):
                # Another scheduler was first, and its word is on its way here. Or a guarded message has expired: then
                # the log expects less, and only then may the guard follow it without reading what is there.
                for guard, known in self._expected(events).items():
                    self._guards[guard] = min(known, await self._log.last_sequence(guard))

    def _expected(self, events: Sequence[Said]) -> dict[str, int]:
        return {guard: self._guards.get(guard, 0) for event in events if (guard := guard_of(event))}

    async def _trusted(self) -> bool:
        """Tell whether this clock agrees with the log's. One that does not must not say what time it is."""
        if self._max_offset is None:
            return True
        try:
            offset = self._clock() - await self._log.time()
        except Unavailable as error:
            log.warning("%s", error, extra={"action": "append_retry", "part": self.name})
            return False
        self._looked_at = asyncio.get_running_loop().time()
        refusing = abs(offset) > self._max_offset
        if refusing:
            log.error(
                "this clock is %.0f s off the log's: nothing is fired until it is right again",
                offset.total_seconds(),
                extra={"action": "clock_off", "part": self.name, "offset_seconds": offset.total_seconds()},
            )
        if refusing or self._refusing:
            note = {"refusing": refusing, "offset_seconds": offset.total_seconds()}
            with suppress(Unavailable):
                await self._log.note(f"clock.{self._id}", note)
        self._refusing = refusing
        return not refusing

    def _take(self, entry: Entry) -> None:
        """Take in a definition, or what became of an occurrence."""
        if entry.subject.startswith("flow."):
            self._guards[entry.subject] = max(entry.sequence, self._guards.get(entry.subject, 0))
        if isinstance(entry, Stored):
            evolve(self._state, entry.envelope)

    def _watch(self, entry: Entry) -> None:
        """Take in what sets a deadline, or meets it."""
        if isinstance(entry, Stored):
            deadlines.evolve(self._state.deadlines, entry.envelope, self._state.catalogue)

    def _envelope(self, event: Said) -> Envelope:
        at = self._clock()
        match event:
            case FlowDue():
                id_ = f"due:{event.flow_id}:{instant(event.occurrence)}"
                execution_id = scheduled_execution_id(event.flow_id, event.occurrence)
                return envelope(event, id=id_, source=self.name, time=at, correlationid=execution_id)
            case FlowMissed():
                id_ = f"missed:{event.flow_id}:{instant(event.first)}:{instant(event.last)}"
                return envelope(event, id=id_, source=self.name, time=at)
            case _:
                vm = f":{event.context_id}" if event.context_id else ""
                id_ = f"overdue:{event.execution_id}:{event.deadline}{vm}"
                return envelope(event, id=id_, source=self.name, time=at, correlationid=event.execution_id)


def _batches(decided: Sequence[Sequence[Said]]) -> Iterator[list[Sequence[Said]]]:
    """Yield what is decided in batches that fit an atomic one; what is said of one flow stays together."""
    batch: list[Sequence[Said]] = []
    size = 0
    for events in decided:
        if batch and size + len(events) > TOGETHER:
            yield batch
            batch, size = [], 0
        batch.append(events)
        size += len(events)
    if batch:
        yield batch
