"""The command client: appends a command once for each id, and waits for its outcome (read your writes).

Identity is the log's. A command whose id a caller may send again (it comes from an `Idempotency-Key`) is looked for in
the tables and, after their position, on the log; and it is appended on the condition that nothing was added to its
subject since that look. So it has one effect, whatever its age, the lag of the tables and the duplicate window, and
however many API processes there are, paused ones too. An id belongs to one subject: the caller derives it from the
request.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Protocol

import msgspec

from api.tail import SUBJECTS, CommandOutcome, Tail
from bus.envelope import Envelope, Stored, envelope
from bus.errors import Conflict, Unknown
from bus.log import Log
from bus.reading import Page
from bus.subjects import subject_of
from schemas.base import Value
from schemas.commands import Command, ExecuteFlow
from schemas.ids import manual_execution_id

SETTLING = 2.0  # seconds after which it is reported as unknown whether a command is on the log


class Recorded(Value, frozen=True, kw_only=True):
    """What the tables say of a command, and the sequence up to which they hold the log. None: they do not have it."""

    position: int
    sequence: int | None = None
    outcome: CommandOutcome | None = None


class Known(Protocol):
    """Looks a command up in the tables; what it returns is of one moment."""

    def __call__(self, command_id: str, /) -> Awaitable[Recorded]: ...


class Found(Value, frozen=True, kw_only=True):
    """A command on the log: where it stands, and what became of it so far."""

    sequence: int
    outcome: CommandOutcome | None


class KeyReused(Exception):
    """The id is on the log already, with another command: use a new key for each new request."""


class CommandClient:
    """Submits commands. `hear` must be given every batch of the log that comes after `since`."""

    def __init__(self, log: Log, known: Known, clock: Callable[[], datetime], *, since: int) -> None:
        self._log = log
        self._known = known
        self._clock = clock
        self._tail = Tail(since)
        self._waiting: dict[str, set[asyncio.Future[CommandOutcome | None]]] = {}  # by command
        self._heard: list[tuple[int, asyncio.Future[None]]] = []  # who waits until the tail is so far
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # by subject: its guarded appends
        self._crowded: set[str] = set()  # subjects on which a guarded append met others
        self.closed = False

    def hear(self, batch: Page) -> None:
        """Take in what the log says next."""
        for command_id, outcome in self._tail.take(batch.entries, batch.position).items():
            self._settle(command_id, outcome)
        for sequence, future in self._heard:
            if sequence <= batch.position and not future.done():
                future.set_result(None)
        self._heard = [one for one in self._heard if not one[1].done()]

    def close(self) -> None:
        """Let nobody wait any longer: the process is to end."""
        self.closed = True
        for command_id in list(self._waiting):
            self._settle(command_id, None)

    async def submit(
        self,
        command: Command,
        *,
        id: str,  # noqa: A002  the CloudEvents name
        actor: str,
        keyed: bool,
        patience: float,
        traceparent: str | None = None,
    ) -> CommandOutcome | None:
        """Put a command on the log and return its outcome, None when there is none within `patience` seconds.

        `keyed`: the id may have been used before; then this is about the first command with it. Without, the id is
        fresh, and the append costs no lookup. `traceparent`: the request's own trace context. Raises `KeyReused`;
        `Unknown` when the command may be on the log or not, and another `LogError` when it is not: submitting a keyed
        one again is safe.
        """
        sent = _envelope(command, id, actor, self._clock(), traceparent)
        future: asyncio.Future[CommandOutcome | None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(id, set())
        waiting.add(future)  # before any look: an outcome cannot slip through between
        try:
            if not keyed:
                if (subject := subject_of(command)) in self._crowded:
                    async with self._turns[subject]:  # it has to get through
                        pass
                await self._log.publish_once(sent)
            elif (found := await self._append_once(sent)) is not None:
                if not _same(command, await self._command_at(found.sequence)):
                    raise KeyReused
                if found.outcome is not None:
                    return found.outcome
            if self.closed:
                return None
            try:
                async with asyncio.timeout(patience):
                    return await future
            except TimeoutError:
                return None
        finally:
            waiting.discard(future)
            if not waiting:
                self._waiting.pop(id, None)

    async def find(self, command_id: str) -> Found | None:
        """Return what is known of a command that was submitted before, None when nothing is. Raises `LogError`."""
        async with _soon("commands"):
            return await self._find(command_id)

    async def earlier(self, command_id: str) -> Command | None:
        """Return a command that was submitted before; None when there was none, or the log has let go of it."""
        found = await self.find(command_id)
        return None if found is None else await self._command_at(found.sequence)

    async def _append_once(self, sent: Envelope) -> Found | None:
        """Append a command unless its id is on the log; then return what is known of the first one with it."""
        subject = subject_of(sent.data)
        async with _soon(subject), self._turns[subject]:  # this process does not race with itself
            guard = self._tail.last(subject)
            try:
                while True:
                    if guard is None:
                        guard = await self._log.last_sequence(subject)
                        await self._heard_up_to(guard)
                    if (found := await self._find(sent.id)) is not None:
                        return found
                    try:
                        await self._log.append([sent], expect={subject: guard})
                    except Conflict:
                        self._crowded.add(subject)
                    except Unknown:
                        pass
                    else:
                        return None
                    guard = None  # somebody else was first, or this very append: what is on the log now decides
            finally:
                self._crowded.discard(subject)

    async def _find(self, command_id: str) -> Found | None:
        """Look for a command in the tail, in the tables, and in what lies between them."""
        since, outcome = self._tail.since, self._tail.outcome(command_id)
        sequence = self._tail.command(command_id)
        if sequence is None:
            # in this order: what the tail lets go of is in the tables, or after their position and up to `since`
            recorded = await self._known(command_id)
            sequence, outcome = recorded.sequence, recorded.outcome or outcome
            if recorded.position < since and (sequence is None or outcome is None):
                older = Tail(recorded.position, most=None)
                older.take(await self._log.read(SUBJECTS, after=recorded.position, until=since), since)
                sequence = older.command(command_id) if sequence is None else sequence
                outcome = older.outcome(command_id) or outcome
        return None if sequence is None else Found(sequence=sequence, outcome=outcome)

    async def _command_at(self, sequence: int) -> Command | None:
        async with _soon("commands"):
            entries = await self._log.read(["command.*.*"], after=sequence - 1, until=sequence)
        for entry in entries:
            if isinstance(entry, Stored) and isinstance(entry.envelope.data, Command):
                return entry.envelope.data
        return None

    async def _heard_up_to(self, sequence: int) -> None:
        if sequence > self._tail.position:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._heard.append((sequence, future))
            await future

    def _settle(self, command_id: str, outcome: CommandOutcome | None) -> None:
        for future in self._waiting.get(command_id, ()):
            if not future.done():
                future.set_result(outcome)


@asynccontextmanager
async def _soon(what: str) -> AsyncIterator[None]:
    """Do not wait for a log that is silent, or for a turn, longer than `SETTLING`. Raises `Unknown`."""
    try:
        async with asyncio.timeout(SETTLING):
            yield
    except TimeoutError:
        raise Unknown(f"the log did not reply about {what} within {SETTLING:.0f} s") from None


def _same(command: Command, first: Command | None) -> bool:
    """Tell whether two commands ask for the same. The first may have expired: its id still says what it was about."""
    # requests come in shapes with more fields than the log's
    return first is None or msgspec.json.decode(msgspec.json.encode(command), type=type(command)) == first


def _envelope(command: Command, id_: str, actor: str, time: datetime, traceparent: str | None) -> Envelope:
    # what belongs to one execution shares its id; what belongs to one change of definitions, the command's
    correlation = manual_execution_id(id_) if isinstance(command, ExecuteFlow) else id_
    return envelope(
        command, id=id_, source="api", time=time, actor=actor, correlationid=correlation, traceparent=traceparent
    )
