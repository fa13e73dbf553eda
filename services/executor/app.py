"""The executor's shell: follow, fold, decide, append. Any number of them may run: the first append wins."""

from __future__ import annotations

import asyncio
import logging

from bus.envelope import Entry, Envelope, Stored, envelope
from bus.errors import Conflict, Unavailable, Unknown
from bus.log import Log
from bus.subjects import CATALOG, REQUESTS, matches
from schemas.events import FlowBackfillCancelled, FlowBackfilling, Rejected
from services.executor.decision import Batch, Decided, Decision
from services.executor.domain import decide
from services.executor.state import State, evolve
from services.hosting import Subscribe

log = logging.getLogger(__name__)

READS = (
    CATALOG,
    *("command.flow.execute", "command.execution.*", "command.backup.create", "command.backfill.*"),
    *("rejected.execution.*", "rejected.backfill.*", "flow.backfilling.*", "flow.backfill_cancelled.*"),
    *(f"flow.{event}.*" for event in ("due", "overdue", "started", "planned", "skipped", "cancelling", "completed")),
    *(f"backup.{event}.*" for event in ("requested", "skipped", "started", "completed", "failed", "cancelled")),
)
RETRY_PAUSE = 1.0  # seconds before an append is tried again when the log gave no answer
CHECKPOINT_EVERY = 2000  # messages


class Executor:
    """Runs executions from due to completed."""

    name = "executor"

    def __init__(self, *, total_limit: int | None = None) -> None:
        self._total_limit = total_limit
        self._state = State()
        self._guards: dict[str, int] = {}  # by guard: the last sequence there; what is not in it is asked for
        self._position = 0
        self._saved = 0  # the position of the last checkpoint
        self._appended = 0  # sequence of the last own append: nothing is decided before it has been read back

    async def open(self, log: Log, subscribe: Subscribe) -> None:
        del subscribe  # nothing to subscribe: the executor follows
        self._log = log
        self._position = self._saved = await log.checkpoint(self.name)
        if self._position:
            # definitions from before the checkpoint; what is newer comes again, in its place
            for entry in await log.latest([CATALOG]):
                self._take(entry)

    async def run(self) -> None:
        async for batch in self._log.follow(READS, after=self._position):
            for entry in batch.entries:
                self._position = entry.sequence
                self._take(entry)
            if batch.caught_up and self._position >= self._appended:
                answered = await self._advance()
                while not answered:
                    await asyncio.sleep(RETRY_PAUSE)
                    answered = await self._advance()
                await self._save()

    def _take(self, entry: Entry) -> None:
        guard = REQUESTS if matches(REQUESTS, entry.subject) else entry.subject
        self._guards[guard] = entry.sequence
        if isinstance(entry, Stored):
            evolve(self._state, entry)

    async def _advance(self) -> bool:
        """Append what is to be decided now. False: the log gave no answer, so decide again from the same state."""
        for decisions in decide(self._state, total_limit=self._total_limit):
            try:
                guards = await self._expected(decisions)
                last = await self._log.append([self._envelope(one) for one in decisions], expect=guards)
            except Conflict:
                # Another executor was first, and its words are on their way here. Or a guarded message has expired.
                return not await self._lower(decisions)
            except (Unavailable, Unknown) as error:
                log.warning("%s", error, extra={"action": "append_retry", "part": self.name})
                return False
            for number, one in enumerate(reversed(decisions)):
                self._guards[one.guard] = max(self._guards.get(one.guard, 0), last - number)
            self._appended = last
        return True

    async def _expected(self, decisions: Batch) -> dict[str, int]:
        """Return what the log is to hold last on each guard of a batch. Raises `Conflict` when it holds what is unread.

        What was on a guard before the checkpoint is not known here, and asked for.
        """
        for guard in {one.guard for one in decisions} - self._guards.keys():
            last = await self._log.last_sequence(guard)
            if last > self._position:
                raise Conflict(f"message {last} on {guard} has not been read yet")
            self._guards[guard] = last
        return {one.guard: self._guards[one.guard] for one in decisions}

    async def _lower(self, decisions: Batch) -> bool:
        """Follow the log where it expects less than what was read, as the message there has expired; tell if so."""
        lowered = False
        for guard in {one.guard for one in decisions}:
            last = await self._log.last_sequence(guard)
            if last < self._guards.get(guard, 0):
                self._guards[guard] = last
                lowered = True
        return lowered

    async def _save(self) -> None:
        """Save a checkpoint now and then: what is before the oldest thing that is not over need not be read again."""
        oldest = self._state.oldest
        position = self._position if oldest is None else oldest - 1
        if position >= self._saved + CHECKPOINT_EVERY:
            try:
                await self._log.save_checkpoint(self.name, position)
            except Unavailable as error:
                log.warning("no checkpoint: %s", error, extra={"action": "checkpoint_failed", "part": self.name})
            self._saved = position

    def _envelope(self, decision: Decision) -> Envelope:
        return envelope(
            decision.event,
            id=decision.id,
            source=self.name,
            time=decision.time,
            actor=decision.actor,
            correlationid=_execution_of(decision.event),
            causationid=decision.cause,
            decidedon=self._position,
        )


def _execution_of(event: Decided) -> str:
    match event:
        case Rejected():
            return event.id
        case FlowBackfilling() | FlowBackfillCancelled():
            return event.backfill_id
        case _:
            return event.execution_id
