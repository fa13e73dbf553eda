"""The registry's shell: one command at a time from the queue, answered with a guard on the whole catalogue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from faststream.nats import NatsBroker

from bus.envelope import Entry, Envelope, Stored, envelope
from bus.errors import Conflict, TooLarge, Unavailable, Unknown
from bus.log import BATCH_LIMIT, Log
from bus.stream import REGISTRY_QUEUE
from bus.subjects import CATALOG
from schemas.commands import Command, kind_of, verb_of
from schemas.events import Defined, Rejected
from services.catalogue import Catalogue
from services.hosting import Delivery, subscribe
from services.registry.domain import decide, evolve

log = logging.getLogger(__name__)

ANSWERS = ("catalog.*.*", "rejected.*.*")
RETRY_DELAY = 1.0  # seconds before a command is redelivered when the log could not be reached


class Registry:
    """Says yes or no to changes of definitions."""

    name = "registry"

    def __init__(self) -> None:
        self._catalogue = Catalogue()
        self._position = 0  # of the last `catalog.*` message taken in

    async def open(self, log: Log, broker: NatsBroker) -> None:
        self._log = log
        for entry in await log.latest([CATALOG]):
            self._take(entry)
        subscribe(broker, REGISTRY_QUEUE, self.handle)

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def handle(self, delivery: Delivery) -> None:
        """Answer one command. A message that is no command of ours is left to the recorder's dead letters."""
        entry = delivery.entry
        if isinstance(entry, Stored) and isinstance(entry.envelope.data, Command):
            try:
                await self._answer(entry, entry.envelope.data, again=delivery.number > 1)
            except (Unavailable, Unknown) as error:
                log.warning("command %s waits: %s", entry.envelope.id, error, extra={"action": "command_retry"})
                await delivery.message.nack(delay=RETRY_DELAY)
                return
        await delivery.message.ack_sync()

    async def _answer(self, entry: Stored, command: Command, *, again: bool) -> None:
        asked = entry.envelope
        while True:
            # A command that comes again may have its answer already; one that is decided again may have a rival's.
            if again and await self._answered(entry):
                return
            decision = decide(self._catalogue, command, actor=asked.actor or "unknown", time=asked.time)
            events: Sequence[Defined | Rejected] = [decision] if isinstance(decision, Rejected) else decision
            if len(events) > BATCH_LIMIT:
                events = [_too_many(command, len(events))]
            answers = [self._envelope(asked, event, number) for number, event in enumerate(events, start=1)]
            try:
                last = await self._log.append(answers, expect={CATALOG: self._position})
            except TooLarge as error:
                decision = Rejected(
                    entity=kind_of(command), verb=verb_of(command), id=command.id, code="invalid", reason=str(error)
                )
                await self._log.append([self._envelope(asked, decision, 1)], expect={})
                return
            except (Conflict, Unknown):
                for missed in await self._log.read([CATALOG], after=self._position):
                    self._take(missed)
                again = True
                continue
            # the guard says that nothing came between, so the state can take its own words without reading them back
            for event in events:
                if not isinstance(event, Rejected):
                    evolve(self._catalogue, event)
                    self._position = last
            return

    def _take(self, entry: Entry) -> None:
        self._position = entry.sequence  # an unreadable message counts for the guard too
        if isinstance(entry, Stored) and isinstance(entry.envelope.data, Defined):
            evolve(self._catalogue, entry.envelope.data)

    async def _answered(self, command: Stored) -> bool:
        """Tell whether the log holds an answer to a command."""
        later = await self._log.read(ANSWERS, after=command.sequence)
        return any(isinstance(entry, Stored) and entry.envelope.causationid == command.envelope.id for entry in later)

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


def _too_many(command: Command, count: int) -> Rejected:
    return Rejected(
        entity=kind_of(command),
        verb=verb_of(command),
        id=command.id,
        code="invalid",
        reason=f"it would change {count} definitions at once; at most {BATCH_LIMIT} can change together",
    )
