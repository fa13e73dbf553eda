"""The table of subjects (DESIGN §3): one row for each type of message, `<family>.<event>.<key>`."""

from __future__ import annotations

from typing import Literal

from schemas.base import Message, Value, tag_of
from schemas.commands import COMMANDS, Command
from schemas.events import (
    EVENTS,
    BackupProgressed,
    BackupRequested,
    CatalogEvent,
    DeadLettered,
    DeadSettled,
    FlowEvent,
    Rejected,
)

STREAM = "FLOWS"
FAMILIES = ("command", "rejected", "catalog", "flow", "backup", "dead")
STREAM_SUBJECTS = tuple(f"{family}.*.*" for family in FAMILIES)

# Accepted `flow.*` events are republished to two-token subjects: `flow.due.<id>` to `flow.due`.
REPUBLISH_FROM, REPUBLISH_TO = "flow.*.*", "flow.{{wildcard(1)}}"

CATALOG = "catalog.*.*"
REQUESTS = "backup.requested.*"

Lifetime = Literal["forever", "activity", "progress"]


class SubjectRow(Value, frozen=True, kw_only=True):
    """One type of message: its subject with the key as `{key}`, what guards it, and how long it stays on the log.

    `guard` is a subject filter: an append expects the last sequence there that its decision was taken on.
    """

    message: type[Message]
    pattern: str
    guard: str | None
    lifetime: Lifetime


def _row(message: type[Message]) -> SubjectRow:
    tag = tag_of(message)
    if issubclass(message, Command):
        return SubjectRow(message=message, pattern=tag, guard=None, lifetime="activity")
    if issubclass(message, CatalogEvent):
        return SubjectRow(message=message, pattern=f"{tag}.{{key}}", guard=CATALOG, lifetime="forever")
    if issubclass(message, Rejected | DeadLettered | DeadSettled):
        return SubjectRow(message=message, pattern=f"{tag}.{{key}}", guard=None, lifetime="activity")
    if message is BackupRequested:
        # One filter for all flows: admission counts slots over all of them.
        return SubjectRow(message=message, pattern=f"{tag}.{{key}}", guard=REQUESTS, lifetime="activity")
    if message is BackupProgressed:
        return SubjectRow(message=message, pattern=f"{tag}.{{key}}", guard=None, lifetime="progress")
    guard = f"{tag}.{{key}}" if tag.startswith("flow.") or tag in {"backup.skipped", "backup.abandoned"} else None
    return SubjectRow(message=message, pattern=f"{tag}.{{key}}", guard=guard, lifetime="activity")


TABLE: dict[str, SubjectRow] = {tag_of(message): _row(message) for message in (*COMMANDS, *EVENTS)}


def key_of(message: Message) -> str:
    """Return what a message is about, the CloudEvents `subject`: a definition's, a flow's or a command's id."""
    match message:
        case FlowEvent():
            return message.flow_id
        case CatalogEvent() | Command() | Rejected():
            return message.id
        case DeadLettered() | DeadSettled():
            return str(message.sequence)
        case _:
            raise TypeError(f"{message!r} is no message of the log")


def type_of(message: Message) -> str:
    """Return the CloudEvents `type`. It is the tag, and a rejection's names the command too."""
    if isinstance(message, Rejected):
        return f"rejected.{message.entity}.{message.verb}"
    if isinstance(message, DeadLettered):
        return f"dead.{message.service}.{message.reason}"
    return tag_of(message)


def subject_of(message: Message) -> str:
    """Return the subject that a message is appended to."""
    if isinstance(message, Command | Rejected | DeadLettered):
        return type_of(message)
    return f"{tag_of(message)}.{key_of(message)}"


def guard_of(message: Message) -> str | None:
    """Return the subject filter whose last sequence guards the append of this message, if any does."""
    if isinstance(message, Rejected) and message.entity in {"execution", "backup", "backfill"}:
        return subject_of(message)  # the executors', of which any number decide the same
    guard = TABLE[tag_of(message)].guard
    return guard.format(key=key_of(message)) if guard else None


def matches(pattern: str, subject: str) -> bool:
    """Tell whether a subject matches a NATS pattern (`*` one token, `>` one or more at the end)."""
    wanted, tokens = pattern.split("."), subject.split(".")
    for i, want in enumerate(wanted):
        if want == ">":
            return len(tokens) > i
        if i >= len(tokens) or want not in {"*", tokens[i]}:
            return False
    return len(wanted) == len(tokens)
