"""Commands and their outcomes: the table `commands`. Pure."""

from __future__ import annotations

from bus.envelope import Stored
from schemas import tables as t
from schemas.commands import Command, PruneHistory, entity_of, verb_of
from schemas.events import (
    Defined,
    FlowBackfillCancelled,
    FlowBackfilling,
    FlowBuffered,
    FlowCancelling,
    FlowSkipped,
    FlowStarted,
    Rejected,
)
from services.recorder.changes import Changes, Unprojectable, fitting
from services.recorder.known import Row


def project_command(changes: Changes, entry: Stored, command: Command) -> None:
    sent = entry.envelope
    if sent.id in changes.known.commands:
        raise Unprojectable("repeated", f"command {sent.id} is on the log already")
    prunes = isinstance(command, PruneHistory)
    row = {
        "id": sent.id,
        "sequence": entry.sequence,
        "entity": entity_of(command),
        "verb": verb_of(command),
        "entity_id": command.id,
        "actor": sent.actor or "unknown",
        "time": sent.time,
        "outcome": "accepted" if prunes else "pending",
        "outcome_sequence": entry.sequence if prunes else None,
        "code": None,
        "reason": None,
        "field": None,
    }
    if isinstance(command, PruneHistory):
        fitting(t.executions, {"completed_at": command.before})
        changes.prune_before = command.before
    changes.new_commands[sent.id] = fitting(t.commands, row)
    changes.known.commands[sent.id] = not prunes


def outcome_of(entry: Stored) -> Row | None:
    """Return the outcome that a message is for the command that led to it, None when it is none."""
    outcome, code, reason, field = "accepted", None, None, None
    match entry.envelope.data:
        case Rejected() as rejected:
            outcome, code, reason = "rejected", rejected.code, rejected.reason
            field = rejected.field
        case FlowSkipped() as skipped:
            outcome, code, reason = "rejected", skipped.reason, skipped.message
        case FlowBuffered() | FlowStarted() | FlowBackfilling() | FlowBackfillCancelled():
            pass
        case FlowCancelling(origin="asked"):
            pass
        case event if isinstance(event, Defined):
            pass
        case _:
            return None
    return {"outcome": outcome, "outcome_sequence": entry.sequence, "code": code, "reason": reason, "field": field}


def record_outcome(changes: Changes, entry: Stored) -> None:
    """Note a command's outcome. The first outcome on the log counts; one command may have several events."""
    command_id, outcome = entry.envelope.causationid, outcome_of(entry)
    if command_id is None or outcome is None or not changes.known.commands.get(command_id):
        return
    fitting(t.commands, outcome)
    changes.known.commands[command_id] = False
    if command_id in changes.new_commands:
        changes.new_commands[command_id].update(outcome)
    else:
        changes.outcomes[command_id] = outcome
