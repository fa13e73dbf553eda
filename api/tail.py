"""The tail: the commands at the end of the log and their outcomes, as the tables will have them. No I/O."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from bus.envelope import Entry, Stored
from schemas.base import Message, Value
from schemas.commands import Command
from schemas.events import FlowStarted, Rejected, WrongField
from services.recorder.commands import outcome_of

REMEMBERED = 20_000  # commands and outcomes
SUBJECTS = (
    *("command.*.*", "catalog.*.*", "rejected.*.*", "flow.started.*", "flow.skipped.*", "flow.cancelling.*"),
    *("flow.buffered.*", "flow.backfilling.*", "flow.backfill_cancelled.*"),
)

T = TypeVar("T")


class CommandOutcome(Value, frozen=True, kw_only=True):
    """What became of a command. `sequence`: when the tables are there, they have all that it led to at once."""

    sequence: int
    accepted: bool
    code: str | None = None
    reason: str = ""
    field: str | None = None
    fields: list[WrongField] = []


class Tail:
    """What the log holds after `since`, up to `position`. It lets go of the oldest and then begins later."""

    def __init__(self, since: int = 0, *, most: int | None = REMEMBERED) -> None:
        self.since = since
        self.position = since
        self._most = most
        self._commands: OrderedDict[str, int] = OrderedDict()  # by id: the sequence of the first with it
        self._outcomes: OrderedDict[str, CommandOutcome] = OrderedDict()  # by command
        self._order: deque[tuple[int, OrderedDict[str, Any], str]] = deque()
        self._last: dict[str, int] = {}  # by subject of commands

    def take(self, entries: Sequence[Entry], position: int) -> dict[str, CommandOutcome]:
        """Take in what comes next and return the outcomes that are new, by command."""
        new: dict[str, CommandOutcome] = {}
        for entry in entries:
            if entry.subject.startswith("command."):
                self._last[entry.subject] = entry.sequence  # one that is unreadable counts for the guard too
            if not isinstance(entry, Stored):
                continue
            sent = entry.envelope
            if isinstance(sent.data, Command):
                if sent.id not in self._commands:
                    self._keep(self._commands, sent.id, entry.sequence, entry.sequence)
            elif (row := outcome_of(entry)) and (command_id := sent.causationid):
                if command_id in new:  # one command may change several things, together on the log
                    new[command_id] = self._outcomes[command_id] = replace(new[command_id], sequence=_end(entry))
                elif command_id not in self._outcomes:  # the first outcome counts, here as in the tables
                    new[command_id] = _outcome(sent.data, row, _end(entry))
                    self._keep(self._outcomes, command_id, new[command_id], entry.sequence)
        self.position = position
        self._let_go()
        return new

    def _keep(self, where: OrderedDict[str, T], id_: str, what: T, sequence: int) -> None:
        where[id_] = what
        self._order.append((sequence, where, id_))

    def _let_go(self) -> None:
        while self._most is not None and len(self._order) > self._most:
            sequence, held, id_ = self._order.popleft()
            del held[id_]
            self.since = max(self.since, sequence)

    def command(self, command_id: str) -> int | None:
        """Return where a command stands, None when it is not in the tail."""
        return self._commands.get(command_id)

    def outcome(self, command_id: str) -> CommandOutcome | None:
        """Return a command's outcome, None when it is not in the tail."""
        return self._outcomes.get(command_id)

    def last(self, subject: str) -> int | None:
        """Return the last sequence heard on a subject of commands, None when nothing was heard on it."""
        return self._last.get(subject)


def _end(entry: Stored) -> int:
    """Return up to where what a message says goes on: an execution's plan follows its start, in one atomic batch."""
    data = entry.envelope.data
    return entry.sequence + (data.parts if isinstance(data, FlowStarted) else 0)


def _outcome(message: Message, row: dict[str, object], end: int) -> CommandOutcome:
    return CommandOutcome(
        sequence=end,
        accepted=row["outcome"] == "accepted",
        code=row["code"],  # type: ignore[arg-type]
        reason=row["reason"] or "",  # type: ignore[arg-type]
        field=row["field"],  # type: ignore[arg-type]
        fields=message.fields if isinstance(message, Rejected) else [],
    )
