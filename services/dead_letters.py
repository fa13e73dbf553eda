"""Dead letters: messages that a service could not use, published on the log, each once for all of its replicas."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from bus.envelope import Envelope, Stored, envelope
from bus.errors import Conflict
from bus.log import Log
from bus.subjects import id_of
from schemas.base import brief
from schemas.events import DeadLettered
from services.unusable import DeadLetter, SetAside

log = logging.getLogger(__name__)


class DeadLetters:
    """Publishes a service's dead letters: each is on the log once, however many replicas there are, wherever they end.

    Those that are on the log are read, and each further one is appended with the sequence that they were read up to.
    """

    def __init__(self, log: Log, service: str) -> None:
        self._log = log
        self._service = service
        self._published: dict[str, set[int]] = {}  # by subject: the messages that have one
        self._guards: dict[str, int] = {}

    async def publish(self, dead_letters: Sequence[DeadLetter]) -> None:
        """Append dead letters. A dead letter that cannot be used has none of its own: that would never end."""
        for one in dead_letters:
            if one.entry.subject.startswith("dead."):
                continue
            event = self._event(one)
            subject = event.type
            if subject not in self._published:
                self._published[subject] = set()
                await self._read(subject)
            while one.entry.sequence not in self._published[subject]:
                await self._append(subject, event, one)

    async def _append(self, subject: str, event: Envelope, one: DeadLetter) -> None:
        try:
            self._guards[subject] = await self._log.append([event], expect={subject: self._guards[subject]})
        except Conflict:  # another replica has appended one, or what was there has expired
            await self._read(subject)
            return
        self._published[subject].add(one.entry.sequence)
        log.warning(
            "message %d on %s is %s: %s",
            one.entry.sequence,
            one.entry.subject,
            one.reason,
            one.error,
            extra={"action": "dead_letter", "part": self._service, "sequence": one.entry.sequence},
        )

    async def _read(self, subject: str) -> None:
        """Read the dead letters that have been appended since the last read."""
        guard = await self._log.last_sequence(subject)
        for entry in await self._log.read([subject], after=self._guards.get(subject, 0), until=guard):
            if isinstance(entry, Stored) and isinstance(entry.envelope.data, DeadLettered):
                self._published[subject].add(entry.envelope.data.sequence)
        self._guards[subject] = guard

    def _event(self, one: DeadLetter) -> Envelope:
        dead = DeadLettered(
            service=self._service,
            reason=one.reason,
            sequence=one.entry.sequence,
            subject=one.entry.subject,
            error=brief(one.error),
        )
        return envelope(dead, id=id_of(dead), source=self._service, time=one.entry.stored_at)

    async def publish_set_aside(self, aside: SetAside) -> None:
        """Publish what a service has set aside. Raises `LogError`: then the rest is still unpublished."""
        for sequence, error in list(aside.unpublished.items()):
            for entry in await self._log.read([">"], after=max(sequence - 1, 0), until=sequence):
                await self.publish([DeadLetter(entry=entry, reason="unusable", error=error)])
            del aside.unpublished[sequence]
