"""The registry's shell: one command at a time from the queue, answered with a guard on the whole catalogue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from bus.envelope import Entry, Envelope, Stored, envelope
from bus.errors import Conflict, TooLarge, Unavailable, Unknown
from bus.log import BATCH_LIMIT, Log
from bus.stream import REGISTRY_QUEUE
from bus.subjects import CATALOG
from schemas.commands import Command, entity_of, verb_of
from schemas.events import Defined, Rejected
from services.catalogue import Catalogue
from services.hosting import Delivery, Subscribe
from services.registry.domain import decide, evolve

log = logging.getLogger(__name__)

REFUSALS = "rejected.*.*"
REMEMBERED = 100_000  # answers
RETRY_DELAY = 1.0  # seconds before a command is redelivered when the log could not be reached


class Registry:
    """Says yes or no to changes of definitions."""

    name = "registry"

    def __init__(self) -> None:
        self._catalogue = Catalogue()
        self._position = 0  # of the last `catalog.*` message taken in
        self._refused = 0  # of the last `rejected.*` message taken in
        self._known_from = 0  # a command up to here is looked up on the log
        self._answered: dict[str, int] = {}  # by command: the sequence of its answer, oldest first

    async def open(self, log: Log, subscribe: Subscribe) -> None:
        self._log = log
        self._known_from = await log.acknowledged(REGISTRY_QUEUE)
        for entry in await log.latest([CATALOG]):
            self._take(entry)
        self._refused = await log.last_sequence(REFUSALS)
        for answer in await log.read([CATALOG, REFUSALS], after=self._known_from):
            self._note(answer)
        subscribe(REGISTRY_QUEUE, self.handle, slots=1)

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def handle(self, delivery: Delivery) -> None:
        """Answer one command. A message that is no command of ours is left to the recorder's dead letters."""
        entry = delivery.entry
        if isinstance(entry, Stored) and isinstance(entry.envelope.data, Command):
            try:
                await self._answer(entry, entry.envelope.data)
            except (Unavailable, Unknown) as error:
                log.warning("command %s waits: %s", entry.envelope.id, error, extra={"action": "command_retry"})
                await delivery.message.nack(delay=RETRY_DELAY)
                return
        await delivery.message.ack_sync()

    async def _answer(self, entry: Stored, command: Command) -> None:
        """Decide, unless the log has an answer: a command may be delivered again, to this registry or to another."""
        asked = entry.envelope
        while not await self._has_answer(entry):
            decision = decide(self._catalogue, command, actor=asked.actor or "unknown", time=asked.time)
            events: Sequence[Defined | Rejected] = [decision] if isinstance(decision, Rejected) else decision
            if len(events) > BATCH_LIMIT:
                events = [_too_many(command, len(events))]
            answers = [self._envelope(asked, event, number) for number, event in enumerate(events, start=1)]
            try:
                last = await self._log.append(answers, expect={CATALOG: self._position})
            except TooLarge as error:
                decision = Rejected(
                    entity=entity_of(command), verb=verb_of(command), id=command.id, code="invalid", reason=str(error)
                )
                await self._log.append([self._envelope(asked, decision, 1)], expect={})
                return
            except (Conflict, Unknown):
                for missed in await self._log.read([CATALOG], after=self._position):
                    self._take(missed)
                continue
            # the guard says that nothing came between, so the state can take its own words without reading them back
            self._remember(asked.id, last)
            for event in events:
                if not isinstance(event, Rejected):
                    evolve(self._catalogue, event)
                    self._position = last

    async def _has_answer(self, command: Stored) -> bool:
        """Tell whether the log holds an answer to a command: a 'no', or a 'yes' that is part of the catalogue."""
        if command.sequence <= self._known_from:
            later = await self._log.read([CATALOG, REFUSALS], after=command.sequence)
            return any(_cause(entry) == command.envelope.id for entry in later)
        # a 'yes' of a rival is met by the guard on the catalogue; a 'no' has to be looked for
        if await self._log.last_sequence(REFUSALS) > self._refused:
            for entry in await self._log.read([REFUSALS], after=self._refused):
                self._refused = entry.sequence
                self._note(entry)
        return command.envelope.id in self._answered

    def _note(self, answer: Entry) -> None:
        """Remember which command an answer is for."""
        if cause := _cause(answer):
            self._remember(cause, answer.sequence)

    def _remember(self, command_id: str, sequence: int) -> None:
        self._answered[command_id] = sequence
        if len(self._answered) > REMEMBERED:
            forgotten = next(iter(self._answered))
            self._known_from = max(self._known_from, self._answered.pop(forgotten))

    def _take(self, entry: Entry) -> None:
        self._note(entry)
        self._position = entry.sequence  # an unreadable message counts for the guard too
        if isinstance(entry, Stored) and isinstance(entry.envelope.data, Defined):
            evolve(self._catalogue, entry.envelope.data)

    def _envelope(self, asked: Envelope, event: Defined | Rejected, number: int) -> Envelope:
        return envelope(
            event,
            id=f"{asked.id}:{number}",
            source=self.name,
            time=asked.time,
            actor=asked.actor,
            correlationid=asked.correlationid,
            causationid=asked.id,
            decidedon=self._position,
        )


def _cause(entry: Entry) -> str | None:
    return entry.envelope.causationid if isinstance(entry, Stored) else None


def _too_many(command: Command, count: int) -> Rejected:
    return Rejected(
        entity=entity_of(command),
        verb=verb_of(command),
        id=command.id,
        code="invalid",
        reason=f"it would change {count} definitions at once; at most {BATCH_LIMIT} can change together",
    )
