"""What has happened, as log lines: one for each thing that happened to a definition, a flow, an execution or a backup.

Whoever appends it to the log says it, once: so there is one line, however many replicas run. `action` is the type of
the message with `_` for dots, and never changes; beside it are the ids, and what the outcome was.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from msgspec import structs

from bus.envelope import Envelope
from schemas.base import tag_of
from schemas.events import BackupProgressed, FlowPlanned

log = logging.getLogger(__name__)

# fields of messages that say what happened; each is a column to filter by, so they are few and short
_FIELDS = (
    *("flow_id", "execution_id", "backup_id", "context_id", "backfill_id", "occurrence", "first", "last", "count"),
    *("attempt", "worker", "status", "code", "reason", "message", "error", "error_message", "deadline", "version"),
    *("jobs", "jobs_completed", "jobs_failed", "jobs_skipped", "bytes_read", "bytes_transferred", "triggered_by"),
    *("repository_id", "engine", "snapshot_ref", "delay_seconds", "flow_name", "vm_name", "execution_type"),
)
_RENAMED = {"message": "detail"}  # a log record has a `message` of its own
_UNTOLD = (FlowPlanned, BackupProgressed)  # parts of what has its line already


def tell(events: Iterable[Envelope], last: int, *, part: str) -> None:
    """Write a line for each of the messages that were appended together; `last` is the sequence of the last one."""
    if not log.isEnabledFor(logging.INFO):
        return
    events = list(events)
    for sequence, event in enumerate(events, start=last - len(events) + 1):
        if not isinstance(event.data, _UNTOLD):
            log.info("%s %s", event.type, event.subject, extra=about(event, sequence, part))


def about(event: Envelope, sequence: int, part: str) -> dict[str, object]:
    """Return what a line about a message has beside its text: `action`, `part`, `sequence`, and the ids."""
    fields = structs.asdict(event.data)
    told = {_RENAMED.get(name, name): fields[name] for name in _FIELDS if fields.get(name) is not None}
    line: dict[str, object] = {
        "action": tag_of(event.data).replace(".", "_"),
        "part": part,
        "sequence": sequence,
        "id": event.id,
        "subject": event.subject,
        **told,
    }
    if event.actor is not None:
        line["actor"] = event.actor
    if event.traceparent is not None:
        line["trace_id"] = event.traceparent.split("-")[1]
    return line
