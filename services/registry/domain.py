"""The registry's decisions: every command on definitions has one outcome, in the order of the log. Pure.

An outcome follows from the catalogue that all commands before it have made. So all registries decide the same about the
same command, whichever is first, and a command that is repeated, whatever its age, is not decided again. Only where the
engine's own files are, each process knows for itself: the first one's word on such a path counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast, get_args

from bus.envelope import Entry, Envelope, Stored
from bus.subjects import CATALOG
from schemas.base import Value, tag_of
from schemas.commands import DEFINITION_COMMANDS, Command, entity_of, verb_of
from schemas.definitions import Kind
from schemas.events import Defined, Rejected
from services.catalogue import Catalogue
from services.decision import Batch, Decision
from services.processed import ProcessedIds
from services.registry.changes import changes
from services.unusable import SetAside

READS = (
    CATALOG,
    *sorted({tag_of(command) for command in DEFINITION_COMMANDS}),
    *(f"rejected.{entity}.*" for entity in (*get_args(Kind), "freeze", "settings", "token", "worker")),
)


class PendingCommand(Value, frozen=True, kw_only=True):
    """A command without an outcome, and its sequence on the log."""

    sequence: int
    sent: Envelope


class State:
    """What the registry knows. `evolve` changes it in place."""

    def __init__(self) -> None:
        self.catalogue = Catalogue()
        self.pending: dict[str, PendingCommand] = {}  # by command, in the order of the log
        self.processed = ProcessedIds()
        self.set_aside = SetAside()

    @property
    def oldest(self) -> int | None:
        """The sequence of the oldest command without an outcome."""
        return next((pending.sequence for pending in self.pending.values()), None)


def evolve(state: State, entry: Entry) -> State:
    """Take in one message of the log."""
    if not isinstance(entry, Stored):
        return state
    sent = entry.envelope
    if isinstance(sent.data, Command):
        if sent.id not in state.processed and sent.id not in state.pending:
            state.pending[sent.id] = PendingCommand(sequence=entry.sequence, sent=sent)
    elif isinstance(sent.data, Defined | Rejected):
        if sent.causationid is not None:
            state.pending.pop(sent.causationid, None)
            state.processed.add(sent.causationid, entry.sequence)
        if isinstance(sent.data, Defined):
            state.catalogue.evolve(sent.data)
    return state


def _events(catalogue: Catalogue, own: Sequence[str], pending: PendingCommand) -> Sequence[Defined | Rejected]:
    sent = pending.sent
    command = cast("Command", sent.data)
    outcome = changes(catalogue, command, actor=sent.actor or "unknown", time=sent.time, own=own)
    return [outcome] if isinstance(outcome, Rejected) else outcome


def _undecidable(pending: PendingCommand, reason: str) -> Sequence[Defined | Rejected]:
    command = cast("Command", pending.sent.data)
    reason = f"it cannot be decided: {reason}"
    return [Rejected(entity=entity_of(command), verb=verb_of(command), id=command.id, code="invalid", reason=reason)]


def decide(state: State, own: Sequence[str] = ()) -> list[Batch]:
    """Return the outcomes that are due, in order; each rests on those before it.

    `own`: folders and files of the engine, which are nobody's disk.
    """
    batches: list[Batch] = []
    undo: list[Defined] = []
    for id_, pending in state.pending.items():
        sent = pending.sent
        (events,) = state.set_aside.decide(
            [pending], partial(_events, state.catalogue, own), sequence=lambda one: one.sequence, instead=_undecidable
        )
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
    for event in reversed(undo):  # they are not on the log yet
        state.catalogue.evolve(event)
    return batches
