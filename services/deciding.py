"""Deciding: how every service that decides follows the log, and appends its decisions (docs/adr/0009).

The domain folds entries and returns what is due; everything that can go wrong between the two is here, once:

- A decision is guarded on the sequences that it was taken on. The guards know only what has been read. Each message
  carries one guard; what a decision rests on beside its own is guarded as far as there are messages without one.
- After an append, nothing is decided until the appended messages have been read back.
- After a refusal or an unknown outcome, all that is on the log is read before anything is decided again.
- A message that cannot be folded or decided on is set aside as a dead letter, and the others go on.
- A message that has expired no longer counts for a guard; then the guard follows the log down, and only then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, suppress
from datetime import datetime
from typing import Protocol

from msgspec import structs

from bus.appending import BATCH_LIMIT
from bus.clock import Clock, now
from bus.envelope import Entry, Envelope, envelope, fault_of
from bus.errors import Conflict, TooLarge, Unavailable, Unknown
from bus.log import Log
from bus.reading import Page
from bus.subjects import BESIDE, guards_at
from bus.tasks import cancel_and_wait
from schemas.events import Event
from services.dead_letters import DeadLetters
from services.decision import Batch, Decision
from services.happenings import tell
from services.unusable import SetAside

log = logging.getLogger(__name__)

RETRY_PAUSE = 1.0  # seconds before a request to the log is repeated when there was no reply
PATIENCE = 2000  # entries that are folded without deciding, while there is no end of them
READ_AHEAD = 1  # pages
ASKED_AT_ONCE = 100  # questions about guards under way at the same time


Prepared = list[tuple[str, Envelope]]  # messages of one batch, each with its guard


class Domain(Protocol):
    """What one service folds and decides. Nothing in it waits, or reads a clock."""

    name: str
    reads: Sequence[str]  # subject filters: all that it decides on, and all that its guards cover
    set_aside: SetAside  # what could not be folded or decided on: it becomes dead letters

    def evolve(self, entry: Entry) -> None:
        """Take in one message of the log. One for which it raises is set aside."""
        ...

    def decide(self, at: datetime) -> Sequence[Batch]:
        """Return what is to be on the log at `at` and is not, in order; each batch is atomic."""
        ...

    def wake_at(self, at: datetime) -> datetime | None:
        """Return when there may be something to decide although nothing happens."""
        ...


class Decider:
    """Follows the log for a domain, and appends what it decides.

    `start`: what is before it has been folded. `before`: called, with whether anything is due, before anything is
    appended; it returns the seconds to hold back, or None to go on.
    """

    def __init__(
        self,
        log: Log,
        domain: Domain,
        *,
        start: int,
        clock: Clock = now,
        before: Callable[[bool], Awaitable[float | None]] | None = None,
    ) -> None:
        self._log = log
        self._domain = domain
        self._dead_letters = DeadLetters(log, domain.name)
        self._clock = clock
        self._before = before
        self._position = start
        self._guards: dict[str, int] = {}  # by filter: the last sequence read there; a missing one is fetched
        self._appended = 0  # the last own append: nothing is decided before it has been read back
        self._folded = 0  # entries since the last decision
        self._most = BATCH_LIMIT  # messages that are appended together

    @property
    def position(self) -> int:
        """The last sequence that has been folded."""
        return self._position

    async def run(self) -> None:
        """Decide, whenever something has happened or the time has come, until cancelled."""
        news: asyncio.Queue[Page | None] = asyncio.Queue(READ_AHEAD)
        follower = asyncio.create_task(self._follow(news))
        begun = ready = False  # nothing is decided before all has been read once
        try:
            while not follower.done():
                pause = await self._advance() if ready and self._position >= self._appended else None
                with suppress(TimeoutError):
                    page = await asyncio.wait_for(news.get(), pause)
                    if page is not None:
                        self._take(page.entries)
                        begun |= page.caught_up
                        ready = page.caught_up or (begun and self._folded > PATIENCE)
            follower.result()
        finally:
            await cancel_and_wait(follower)

    async def _follow(self, news: asyncio.Queue[Page | None]) -> None:
        try:
            # closed here, while there is a connection: left to the collector, it would wait for replies of a closed one
            async with aclosing(self._log.follow(self._domain.reads, after=self._position)) as pages:
                async for page in pages:
                    await news.put(page)
        finally:
            with suppress(asyncio.QueueFull):
                news.put_nowait(None)  # wakes the one who waits: without news nothing is decided

    def _take(self, entries: Sequence[Entry]) -> None:
        """Fold what has not been folded."""
        for entry in entries:
            if entry.sequence > self._position:
                self._position = entry.sequence
                self._folded += 1
                for guard in guards_at(entry.subject):
                    self._guards[guard] = entry.sequence
                self._domain.set_aside.fold(self._domain.evolve, [entry])

    async def _advance(self) -> float | None:
        """Append what is due; return the seconds to wait when nothing happens, None for ever."""
        self._folded = 0
        at = self._clock()
        decided = self._domain.decide(at)
        if not await self._published():
            return RETRY_PAUSE
        hold = await self._before(bool(decided)) if self._before is not None else None
        if hold is not None:
            return hold
        for batch in _together(map(self._prepared, decided), self._most):
            each = [guard for guard, _ in batch]
            guards = _guards(each)
            try:
                expected = await self._expected(guards)
                last = await self._log.append([event for _, event in batch], expect=expected)
            except Conflict:
                # another process was first. Smaller appends conflict less
                self._most = max(1, self._most // 4)
                await self._read_back(guards)
                return 0.0
            except (Unavailable, Unknown) as error:
                log.warning("%s", error, extra={"action": "append_retry", "part": self._domain.name})
                await asyncio.sleep(RETRY_PAUSE)
                await self._read_back(guards)
                return 0.0
            except TooLarge as error:
                # it can never be appended; the others must not wait for it
                log.error("%s", error, extra={"action": "append_refused", "part": self._domain.name})  # noqa: TRY400
                continue
            tell((event for _, event in batch), last, part=self._domain.name)
            self._guards.update(zip(each, range(last - len(batch) + 1, last + 1), strict=True))
            self._appended = last
            self._most = min(BATCH_LIMIT, 2 * self._most)
        if self._appended > self._position:
            return None  # its own messages are on their way
        wake_at = self._domain.wake_at(at)
        return None if wake_at is None else max((wake_at - self._clock()).total_seconds(), 0.0)

    async def observe(self, event: Event, *, holds: Callable[[], bool]) -> bool:
        """Append what the service's shell has seen outside the log, guarded like a decision, and decided on nothing.

        `holds` tells whether what was folded still leaves room for it: asked at the very position that the guard is of,
        as another message may have been folded since it was seen. Returns whether it was appended. Raises `LogError`:
        then check again.
        """
        seen = Decision(event=event, time=self._clock())
        expected = await self._expected([seen.guard])
        if not holds():
            return False
        sent = structs.replace(self._envelope(seen), decidedon=None)
        tell([sent], await self._log.append([sent], expect=expected), part=self._domain.name)
        return True

    async def _expected(self, guards: Sequence[str]) -> dict[str, int]:
        """Return the sequences that an append with these guards expects. Raises `Conflict` when some are unread."""
        unknown = [guard for guard in guards if guard not in self._guards]
        for start in range(0, len(unknown), ASKED_AT_ONCE):
            some = unknown[start : start + ASKED_AT_ONCE]
            for guard, last in zip(some, await asyncio.gather(*map(self._log.last_sequence, some)), strict=True):
                if last > self._position:
                    raise Conflict(f"message {last} on {guard} has not been read yet")
                self._guards.setdefault(guard, last)  # what was folded meanwhile is newer
        return {guard: self._guards[guard] for guard in guards}

    async def _read_back(self, guards: Sequence[str]) -> None:
        """Read all that is on the log now; lower the guards whose message has expired."""
        while True:
            try:
                before = self._position
                self._take(await self._log.read(self._domain.reads, after=self._position))
                if self._position == before:
                    for guard in guards:
                        last = await self._log.last_sequence(guard)
                        if last <= self._position:
                            self._guards[guard] = last
            except (Unavailable, Unknown) as error:
                log.warning("%s", error, extra={"action": "read_retry", "part": self._domain.name})
                await asyncio.sleep(RETRY_PAUSE)
            else:
                return

    async def _published(self) -> bool:
        """Publish what was set aside; return whether all of it is on the log."""
        try:
            await self._dead_letters.publish_set_aside(self._domain.set_aside)
        except (Unavailable, Unknown) as error:
            log.warning("%s", error, extra={"action": "append_retry", "part": self._domain.name})
            return False
        return True

    def _prepared(self, batch: Batch) -> Prepared:
        """Return a batch as it is appended; nothing of one that could not be read: it would be decided for ever."""
        prepared: Prepared = []
        for decision in batch:
            event = self._envelope(decision)
            if not decision.is_taken_over and (fault := fault_of(event)) is not None:
                log.error(
                    "%s would be unreadable: %s",
                    decision.id,
                    fault,
                    extra={"action": "append_refused", "part": self._domain.name},
                )
                return []
            prepared.append((decision.guard, event))
        return prepared

    def _envelope(self, decision: Decision) -> Envelope:
        return envelope(
            decision.event,
            id=decision.id,
            source=self._domain.name,
            time=decision.time,
            actor=decision.actor,
            correlationid=decision.belongs_to,
            causationid=decision.cause,
            decidedon=self._position,
        )


def _guards(each: Sequence[str]) -> list[str]:
    """Return the guards of a batch, given each message's own: these, and those beside them for which there is room."""
    own = list(dict.fromkeys(each))
    beside = [guard for one in own for guard in BESIDE.get(one, ())]
    return [*own, *beside[: len(each) - len(own)]]


def _together(batches: Iterable[Prepared], most: int) -> Iterator[Prepared]:
    """Yield the batches so that many small ones share an append, of `most` messages; one batch is never divided."""
    gathered: Prepared = []
    for batch in batches:
        if gathered and len(gathered) + len(batch) > most:
            yield gathered
            gathered = []
        gathered.extend(batch)
    if gathered:
        yield gathered
