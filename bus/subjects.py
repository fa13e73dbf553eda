"""The table of messages: one row for each type, with its subject `<family>.<event>.<key>`.

What is reported about one backup has its VM as a fourth token, so that it is found without reading about any other.

To add a message: its Struct in schemas/, its row here, and whoever handles it.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Literal

from schemas import commands as c
from schemas import events as e
from schemas.base import Message, Value, tag_of
from schemas.ids import derived, instant

STREAM = "FLOWS"
FAMILIES = ("command", "rejected", "catalog", "flow", "backup", "notification", "dead")
STREAM_SUBJECTS = tuple("backup.>" if family == "backup" else f"{family}.*.*" for family in FAMILIES)

# Accepted `flow.*` events are republished to two-token subjects: `flow.due.<id>` to `flow.due`.
REPUBLISH_FROM, REPUBLISH_TO = "flow.*.*", "flow.{{wildcard(1)}}"

CATALOG = "catalog.*.*"
TOKENS = "catalog.token.*"
WORKERS = "catalog.worker.*"
IDENTITIES = ("token", "worker")  # tokens of the API, and enrolled workers
ABOUT_IDENTITIES = tuple(  # what the subjects of messages about them begin with
    f"{family}.{entity}." for family in ("catalog", "command", "rejected") for entity in IDENTITIES
)
REQUESTS = "backup.requested.>"

# What a decision rests on beside its guard, by the guard: guarded too, as far as a batch has messages without a guard
# (docs/adr/0021). Requests rest on limits; on all definitions, an import would keep them off the log.
BESIDE = {REQUESTS: ("catalog.settings.*", "catalog.repository.*")}

LONGEST_ID = 1024  # characters of an envelope's id: one that is derived from a long one is shortened to a digest

Lifetime = Literal["forever", "activity", "progress"]


class MessageType(Value, frozen=True, kw_only=True):
    """One type of message. `{field}` stands for the message's field of that name, `{cause}` for what led to it.

    `subject`: where it is appended; its last token is the key, what the message is about. `guard`: the subject filter
    whose last sequence an append expects to be the one that its decision was taken on. `id`: the envelope's, the same
    whoever decides it and however often; None when the one who appends it chooses. A part that is None is left out.
    """

    message: type[Message]
    subject: str
    guard: str | None = None
    id: str | None = None
    lifetime: Lifetime = "activity"


def _definition(message: type[e.Defined], kind: str) -> MessageType:
    subject = f"catalog.{kind}.{{id}}"
    return MessageType(
        message=message, subject=subject, guard=CATALOG, id=f"{kind}:{{id}}:{{cause}}", lifetime="forever"
    )


# All events of one flow are one sequence, and each decision on the flow is guarded by all of it: any event that came
# meanwhile refuses the decision. So two decisions on different pasts cannot both be on the log (docs/adr/0008).
_OF_FLOW = "flow.*.{flow_id}"

_BACKUP = "{flow_id}.{context_id}"  # the end of the subjects of what is reported about one backup

# The messages of one notification are one sequence too: whoever delivers them has read what became of those before.
_OF_NOTIFICATION = "notification.*.{notification_id}"


def _delivery(message: type[e.DeliveryEvent], event: str) -> MessageType:
    return MessageType(
        message=message,
        subject=f"notification.{event}.{{notification_id}}",
        guard=_OF_NOTIFICATION,
        id=f"notification.{event}:{{delivery_id}}",
    )


_ROWS = (
    *(MessageType(message=message, subject=tag_of(message)) for message in c.COMMANDS),
    _definition(e.VmDefined, "vm"),
    _definition(e.GroupDefined, "group"),
    _definition(e.ScheduleDefined, "schedule"),
    _definition(e.RepositoryDefined, "repository"),
    _definition(e.PolicyDefined, "policy"),
    _definition(e.FlowDefined, "flow"),
    _definition(e.NotificationDefined, "notification"),
    _definition(e.FreezeDefined, "freeze"),
    _definition(e.SettingsDefined, "settings"),
    _definition(e.TokenDefined, "token"),
    _definition(e.WorkerDefined, "worker"),
    MessageType(
        message=e.Rejected,
        subject="rejected.{entity}.{verb}",
        guard="rejected.{entity}.{verb}",
        id="rejected:{cause}",
    ),
    MessageType(
        message=e.FlowDue,
        subject="flow.due.{flow_id}",
        guard=_OF_FLOW,
        id="due:{flow_id}:{occurrence}",
    ),
    MessageType(
        message=e.FlowMissed,
        subject="flow.missed.{flow_id}",
        guard=_OF_FLOW,
        id="missed:{flow_id}:{first}:{last}",
    ),
    MessageType(
        message=e.FlowOverdue,
        subject="flow.overdue.{flow_id}",
        guard=_OF_FLOW,
        id="overdue:{execution_id}:{deadline}:{context_id}",
    ),
    MessageType(
        message=e.FlowBuffered,
        subject="flow.buffered.{flow_id}",
        guard=_OF_FLOW,
        id="buffered:{execution_id}",
    ),
    MessageType(
        message=e.FlowStarted,
        subject="flow.started.{flow_id}",
        guard=_OF_FLOW,
        id="started:{execution_id}",
    ),
    MessageType(
        message=e.FlowPlanned,
        subject="flow.planned.{flow_id}",
        guard=_OF_FLOW,
        id="planned:{execution_id}:{part}",
    ),
    MessageType(
        message=e.FlowSkipped,
        subject="flow.skipped.{flow_id}",
        guard=_OF_FLOW,
        id="skipped:{execution_id}",
    ),
    MessageType(
        message=e.FlowCancelling,
        subject="flow.cancelling.{flow_id}",
        guard=_OF_FLOW,
        id="cancelling:{execution_id}:{context_id}:{cause}",
    ),
    MessageType(
        message=e.FlowCompleted,
        subject="flow.completed.{flow_id}",
        guard=_OF_FLOW,
        id="completed:{execution_id}",
    ),
    MessageType(
        message=e.FlowBackfilling,
        subject="flow.backfilling.{flow_id}",
        guard=_OF_FLOW,
        id="backfilling:{backfill_id}",
    ),
    MessageType(
        message=e.FlowBackfillCancelled,
        subject="flow.backfill_cancelled.{flow_id}",
        guard=_OF_FLOW,
        id="backfill_cancelled:{backfill_id}:{cause}",
    ),
    # One filter for all flows: admission counts slots over all of them.
    MessageType(
        message=e.BackupRequested,
        subject="backup.requested.{flow_id}.{pool}",
        guard=REQUESTS,
        id="requested:{backup_id}:{round}",
    ),
    MessageType(
        message=e.BackupAbandoned,
        subject=f"backup.abandoned.{_BACKUP}",
        guard=f"backup.abandoned.{_BACKUP}",
        id="abandoned:{backup_id}:{request}",
    ),
    MessageType(
        message=e.BackupSkipped,
        subject=f"backup.skipped.{_BACKUP}",
        guard="backup.skipped.{flow_id}.*",  # of many at once, as they are one batch
        id="skipped:{backup_id}",
    ),
    MessageType(message=e.BackupOrphaned, subject=f"backup.orphaned.{_BACKUP}", id="orphaned:{backup_id}"),
    # Workers report without a guard: the first end of the newest attempt counts, wherever it stands.
    MessageType(message=e.BackupStarted, subject=f"backup.started.{_BACKUP}", id="started:{backup_id}:{attempt}"),
    MessageType(
        message=e.BackupProgressed,
        subject=f"backup.progressed.{_BACKUP}",
        id="progressed:{backup_id}:{attempt}:{percent}",
        lifetime="progress",
    ),
    MessageType(message=e.BackupRetrying, subject=f"backup.retrying.{_BACKUP}", id="retrying:{backup_id}:{attempt}"),
    MessageType(message=e.BackupCompleted, subject=f"backup.completed.{_BACKUP}", id="completed:{backup_id}:{attempt}"),
    MessageType(message=e.BackupFailed, subject=f"backup.failed.{_BACKUP}", id="failed:{backup_id}:{attempt}"),
    MessageType(message=e.BackupCancelled, subject=f"backup.cancelled.{_BACKUP}", id="cancelled:{backup_id}:{attempt}"),
    MessageType(
        message=e.NotificationClaimed,
        subject="notification.claimed.{notification_id}",
        guard=_OF_NOTIFICATION,
        id="notification.claimed:{notification_id}:{number}",
    ),
    _delivery(e.NotificationDue, "due"),
    _delivery(e.NotificationFailed, "failed"),
    _delivery(e.NotificationDelivered, "delivered"),
    _delivery(e.NotificationDropped, "dropped"),
    MessageType(message=e.DeadLettered, subject="dead.{service}.{reason}", id="dead:{sequence}"),
    MessageType(message=e.DeadSettled, subject="dead.settled.{sequence}"),
)

TABLE: dict[str, MessageType] = {tag_of(row.message): row for row in _ROWS}


def key_of(message: Message) -> str:
    """Return what a message is about, the CloudEvents `subject`: a definition's, a flow's or a command's id."""
    match message:
        case e.FlowEvent():
            return message.flow_id
        case e.CatalogEvent() | c.Command() | e.Rejected():
            return message.id
        case e.NotificationEvent():
            return message.notification_id
        case e.DeadLettered() | e.DeadSettled():
            return str(message.sequence)
        case _:
            raise TypeError(f"{message!r} is no message of the log")


def type_of(message: Message) -> str:
    """Return the CloudEvents `type`: the tag, and of what has no key of its own in its subject, all of the subject."""
    return subject_of(message) if isinstance(message, e.Rejected | e.DeadLettered) else tag_of(message)


def subject_of(message: Message) -> str:
    """Return the subject that a message is appended to."""
    return _SUBJECTS[tag_of(message)].filled(message)


def belongs_on(message: Message, subject: str) -> bool:
    """Tell whether a message may stand on a subject: its own, or the one that older versions appended it to."""
    own = subject_of(message)
    return subject == own or (isinstance(message, e.BackupEvent) and subject == ".".join(own.split(".")[:3]))


def guard_of(message: Message) -> str | None:
    """Return the subject filter whose last sequence guards the append of this message, if any does."""
    template = _GUARDS.get(tag_of(message))
    return None if template is None else template.filled(message)


def id_of(message: Message, cause: str = "") -> str:
    """Return the envelope's id of a message. Raises `ValueError` for one whose id is chosen by who appends it."""
    template = _IDS.get(tag_of(message))
    if template is None:
        raise ValueError(f"a {tag_of(message)} has no id of its own")
    text = template.filled(message, cause)
    return text if len(text) <= LONGEST_ID else derived("message", text)


def guard_at(subject: str) -> str:
    """Return the one guard that an append to a subject moves on, whatever the message."""
    family, event, key, *more = subject.split(".")
    if family == "catalog":
        return CATALOG
    if family in {"flow", "notification"}:
        return f"{family}.*.{key}"
    if family != "backup":
        return subject
    if event == "requested":
        return REQUESTS
    return f"backup.skipped.{key}.*" if event == "skipped" and more else subject


def guards_at(subject: str) -> tuple[str, ...]:
    """Return all guards that an append to a subject moves on: its own, and what decisions rest on beside theirs."""
    guard = guard_at(subject)
    if guard != CATALOG:
        return (guard,)
    return (guard, *(pattern for beside in BESIDE.values() for pattern in beside if matches(pattern, subject)))


def about_identities(subject: str) -> bool:
    """Tell whether a subject is of messages about tokens of the API or enrolled workers: not for everybody to see."""
    return subject.startswith(ABOUT_IDENTITIES)


def matches(pattern: str, subject: str) -> bool:
    """Tell whether a subject matches a NATS pattern (`*` one token, `>` one or more at the end)."""
    wanted, tokens = pattern.split("."), subject.split(".")
    for i, want in enumerate(wanted):
        if want == ">":
            return len(tokens) > i
        if i >= len(tokens) or want not in {"*", tokens[i]}:
            return False
    return len(wanted) == len(tokens)


class _Template:
    """A text with fields of a message in it, taken apart once."""

    def __init__(self, text: str) -> None:
        pieces = re.split(r"\{(\w+)\}", text)
        self._parts = list(zip(pieces[:-1:2], pieces[1::2], strict=True))  # pairs of a literal and the field after it
        self._last = pieces[-1]

    def filled(self, message: Message, cause: str = "") -> str:
        text = ""
        for literal, field in self._parts:
            value = cause if field == "cause" else getattr(message, field)
            if value is None:
                continue
            text += literal + (instant(value) if isinstance(value, datetime) else str(value))
        return text + self._last


_SUBJECTS = {tag: _Template(row.subject) for tag, row in TABLE.items()}
_GUARDS = {tag: _Template(row.guard) for tag, row in TABLE.items() if row.guard is not None}
_IDS = {tag: _Template(row.id) for tag, row in TABLE.items() if row.id is not None}
