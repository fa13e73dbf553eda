"""The executor's shell: follow, fold, decide, append. Any number of them may run: the first append wins."""

from __future__ import annotations

import asyncio
import logging

from faststream.nats import NatsBroker

from bus.envelope import Envelope, Stored, envelope
from bus.errors import Conflict, Unavailable, Unknown
from bus.log import Log
from bus.subjects import CATALOG, REQUESTS, guard_of, matches
from schemas.events import Rejected
from services.executor.domain import Decided, Decision, decide, id_of
from services.executor.state import State, evolve

log = logging.getLogger(__name__)

READS = (
    CATALOG,
    *("command.flow.execute", "command.execution.*", "command.backup.create", "rejected.execution.*"),
    *(f"flow.{event}.*" for event in ("due", "started", "planned", "skipped", "cancelling", "completed")),
    *(f"backup.{event}.*" for event in ("requested", "skipped", "completed", "failed", "cancelled")),
)
RETRY_PAUSE = 1.0  # seconds before an append is tried again when the log gave no answer


class Executor:
    """Runs executions from due to completed."""

    name = "executor"

    def __init__(self, *, total_limit: int | None = None) -> None:
        self._total_limit = total_limit
        self._state = State()
        self._guards: dict[str, int] = {}
        self._position = 0
        self._appended = 0  # sequence of the last own append: nothing is decided before it has been read back

    async def open(self, log: Log, broker: NatsBroker) -> None:
        del broker  # nothing to subscribe: the executor follows
        self._log = log

    async def run(self) -> None:
        async for batch in self._log.follow(READS, after=self._position):
            for entry in batch.entries:
                self._position = entry.sequence
                subject = REQUESTS if matches(REQUESTS, entry.subject) else entry.subject
                self._guards[subject] = entry.sequence
                if isinstance(entry, Stored):
                    evolve(self._state, entry)
            if batch.caught_up and self._position >= self._appended:
                answered = await self._advance()
                while not answered:
                    await asyncio.sleep(RETRY_PAUSE)
                    answered = await self._advance()

    async def _advance(self) -> bool:
        """Append what is to be decided now. False: the log gave no answer, so decide again from the same state."""
        for decisions in decide(self._state, total_limit=self._total_limit):
            guards = {guard: self._guards.get(guard, 0) for one in decisions if (guard := guard_of(one.event))}
            try:
                last = await self._log.append([self._envelope(one) for one in decisions], expect=guards)
            except Conflict:
                # Another executor was first, and its words are on their way here. Or a guarded message has expired.
                return not await self._lower(guards)
            except (Unavailable, Unknown) as error:
                log.warning("%s", error, extra={"action": "append_retry", "part": self.name})
                return False
            for number, one in enumerate(reversed(decisions)):
                guard = guard_of(one.event)
                if guard:
                    self._guards[guard] = max(self._guards.get(guard, 0), last - number)
            self._appended = last
        return True

    async def _lower(self, guards: dict[str, int]) -> bool:
        """Follow the log where it expects less than what was read, as the message there has expired; tell if so."""
        lowered = False
        for guard, known in guards.items():
            last = await self._log.last_sequence(guard)
            if last < known:
                self._guards[guard] = last
                lowered = True
        return lowered

    def _envelope(self, decision: Decision) -> Envelope:
        return envelope(
            decision.event,
            id=id_of(decision.event),
            source=self.name,
            time=decision.time,
            actor=decision.actor,
            correlationid=_execution_of(decision.event),
            causationid=decision.cause,
            decidedon=self._position,
        )


def _execution_of(event: Decided) -> str:
    return event.id if isinstance(event, Rejected) else event.execution_id
