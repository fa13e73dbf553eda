"""The registry's decisions: every command on definitions has one answer, in the order of the log (DESIGN §1). Pure.

An answer follows from the catalogue as all commands before it have made it. So all registries give the same answer to
the same command, whichever is first, and a command that comes again, whatever its age, gets none.
"""

from __future__ import annotations

from typing import cast, get_args

from bus.envelope import Entry, Envelope, Stored
from bus.subjects import CATALOG
from schemas.base import Value, tag_of
from schemas.commands import DEFINITION_COMMANDS, Command
from schemas.definitions import Kind
from schemas.events import Defined, Rejected
from services.catalogue import Catalogue
from services.decision import Batch, Decision
from services.processed import ProcessedIds
from services.registry.changes import changes

READS = (
    CATALOG,
    *sorted({tag_of(command) for command in DEFINITION_COMMANDS}),
    *(f"rejected.{entity}.*" for entity in (*get_args(Kind), "freeze", "settings")),
)


class Pending(Value, frozen=True, kw_only=True):
    """A command without an answer, and where on the log it stands."""

    sequence: int
    sent: Envelope


class State:
    """What the registry knows. `evolve` changes it in place."""

    def __init__(self) -> None:
        self.catalogue = Catalogue()
        self.pending: dict[str, Pending] = {}  # by command, in the order of the log
        self.processed = ProcessedIds()

    @property
    def oldest(self) -> int | None:
        """Where on the log the oldest command without an answer stands."""
        return next((pending.sequence for pending in self.pending.values()), None)


def evolve(state: State, entry: Entry) -> State:
    """Take in one message of the log."""
    if not isinstance(entry, Stored):
        return state
    sent = entry.envelope
    if isinstance(sent.data, Command):
        if sent.id not in state.processed and sent.id not in state.pending:
            state.pending[sent.id] = Pending(sequence=entry.sequence, sent=sent)
    elif isinstance(sent.data, Defined | Rejected):
        if isinstance(sent.data, Defined):
            state.catalogue.evolve(sent.data)
        if sent.causationid is not None:
            state.pending.pop(sent.causationid, None)
            state.processed.add(sent.causationid, entry.sequence)
    return state


def decide(state: State) -> list[Batch]:
    """Return the answers that are due, in order; each rests on those before it."""
    batches: list[Batch] = []
    undo: list[Defined] = []
    for id_, pending in state.pending.items():
        sent = pending.sent
        actor = sent.actor or "unknown"
        answer = changes(state.catalogue, cast("Command", sent.data), actor=actor, time=sent.time)
        events = [answer] if isinstance(answer, Rejected) else answer
        for event in events:
            if isinstance(event, Defined):
                undo.append(state.catalogue.undoing(event))
                state.catalogue.evolve(event)
        batches.append(
            [
                Decision(event=event, time=sent.time, cause=id_, actor=sent.actor, correlation=sent.correlationid)
                for event in events
            ]
        )
    for event in reversed(undo):  # the log has not said so yet
        state.catalogue.evolve(event)
    return batches
