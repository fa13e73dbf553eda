"""Matching: how bad an event is, and whether a notification wants to be told of it. Pure."""

from __future__ import annotations

from schemas.base import Value
from schemas.definitions import Flow
from schemas.events import (
    BackupFailed,
    BackupOrphaned,
    ExecutionEvent,
    FlowCompleted,
    FlowMissed,
    FlowOverdue,
    FlowSkipped,
    FlowStarted,
)
from schemas.ids import AD_HOC
from schemas.notifications import SEVERITIES, Notification, Notified, Severity
from services.catalogue import Catalogue

Source = FlowStarted | FlowCompleted | FlowSkipped | FlowMissed | FlowOverdue | BackupFailed | BackupOrphaned
# what people have asked for themselves
_WANTED = {"cancelled", "backfill_cancelled", "frozen", "flow_disabled", "target_disabled"}


class Turn(Value, frozen=True, kw_only=True):
    """What an execution's end means after those before: whether it failed, and whether the flow had failed before.

    `failed` is None when it says nothing of the flow: it was cancelled.
    """

    failed: bool | None
    before: bool

    @property
    def first_failure(self) -> bool:
        return self.failed is True and not self.before

    @property
    def recovered(self) -> bool:
        return self.failed is False and self.before


def severity_of(event: Source) -> Severity:
    """Return how bad an event is."""
    match event:
        case FlowCompleted():
            if event.status == "error" or event.jobs_failed:
                return "error"
            return "info" if event.status == "success" else "warning"
        case FlowSkipped():
            return "info" if event.reason in _WANTED else "warning"
        case FlowOverdue() | BackupFailed():
            return "error"
        case FlowMissed() | BackupOrphaned():
            return "warning"
        case FlowStarted():
            return "info"


def failed(event: FlowCompleted) -> bool | None:
    """Return whether an execution failed, in whole or in part; None for one that was cancelled."""
    if event.jobs_failed or event.status == "error":
        return True
    return None if event.status == "cancelled" else False


def wants(notification: Notification, event: Notified, turn: Turn | None, catalogue: Catalogue) -> bool:
    """Tell whether a notification is about an event. `turn`: of the end of an execution."""
    if not notification.enabled or event.type not in notification.events:
        return False
    if not _about(notification, event.flow_id, catalogue):
        return False
    if turn is not None and turn.recovered and notification.recovered:
        return True
    if turn is not None and turn.failed and notification.first_failure and not turn.first_failure:
        return False
    return SEVERITIES.index(event.severity) >= SEVERITIES.index(notification.severity)


def _about(notification: Notification, flow_id: str, catalogue: Catalogue) -> bool:
    """Tell whether a notification is about a flow, by its id and by labels."""
    if notification.flows and flow_id not in notification.flows:
        return False
    if not notification.labels:
        return True
    flow = catalogue.flows.get(flow_id)
    return flow is not None and _labelled(flow, notification.labels, catalogue)


def _labelled(flow: Flow, wanted: dict[str, str], catalogue: Catalogue) -> bool:
    """Tell whether a flow has all of some labels, or a VM that it protects has."""
    if wanted.items() <= flow.labels.items():
        return True
    if flow.target_type == "vm":
        ids = [flow.target_id]
    else:
        group = catalogue.groups.get(flow.target_id)
        ids = [member.context_id for member in group.members if member.enabled] if group is not None else []
    vms = (catalogue.vms.get(id_) for id_ in ids)
    return any(vm is not None and wanted.items() <= vm.labels.items() for vm in vms)


def flow_name(event: Source, catalogue: Catalogue) -> str:
    """Return what the flow of an event is called, or was when the execution began."""
    flow = catalogue.flows.get(event.flow_id)
    if flow is not None:
        return flow.name
    if isinstance(event, FlowStarted):
        return event.flow_name
    return "" if event.flow_id == AD_HOC else event.flow_id


def execution_of(event: Source) -> str | None:
    """Return the execution that an event is about, None when there is none."""
    return event.execution_id if isinstance(event, ExecutionEvent) else None
