"""Selection: which messages of a log match a filter. Pure."""

from __future__ import annotations

from datetime import datetime

from bus.envelope import Entry, Stored
from bus.subjects import matches
from schemas import events as e
from schemas.base import Message, Value


def begins(pattern: str, subject: str) -> bool:
    """Tell whether a subject, or its beginning, matches a pattern: `flow` and `flow.*` mean all of their messages."""
    return matches(pattern, subject) or matches(f"{pattern}.>", subject)


class Filter(Value, frozen=True, kw_only=True):
    """Which messages: of a flow (name or id), an execution, a VM, from an instant on, up to one."""

    flow: str | None = None
    execution: str | None = None
    vm: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Selection:
    """A filter over a log that is read in order. It learns the names of flows from the log itself."""

    def __init__(self, wanted: Filter) -> None:
        self._wanted = wanted
        self._flows = {wanted.flow}

    def takes(self, entry: Entry) -> bool:
        """Tell whether a message is wanted."""
        sent = entry.envelope if isinstance(entry, Stored) else None
        wanted = self._wanted
        if sent is not None and isinstance(sent.data, e.FlowDefined):
            definition = sent.data.definition
            if definition is not None and definition.name == wanted.flow:
                self._flows.add(definition.id)
        at = sent.time if sent is not None else entry.stored_at
        if (wanted.since is not None and at < wanted.since) or (wanted.until is not None and at >= wanted.until):
            return False
        if wanted.flow is None and wanted.execution is None and wanted.vm is None:
            return True
        if sent is None:
            return False
        data = sent.data
        of_flow = sent.subject in self._flows or getattr(data, "flow_id", None) in self._flows
        of_execution = wanted.execution in {sent.correlationid, sent.subject, getattr(data, "execution_id", None)}
        of_vm = wanted.vm in {getattr(data, "context_id", None), sent.subject} or _plans(data, wanted.vm)
        return (
            (wanted.flow is None or of_flow)
            and (wanted.execution is None or of_execution)
            and (wanted.vm is None or of_vm)
        )


def _plans(data: Message, vm: str | None) -> bool:
    return isinstance(data, e.FlowPlanned) and any(backup.context_id == vm for backup in data.backups)
