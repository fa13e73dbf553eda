"""Notifications: who is told of what. A rule and its receiver are one definition.

Secrets are never in one: a reference names the environment variable or the file that the notifier finds them in.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType, field

from schemas.base import Count, Id, Instant, Labels, Name, Prose, Text, TimeZone, Value

NotifiedEvent = Literal[
    "flow.started",
    "flow.completed",
    "flow.skipped",
    "flow.missed",
    "flow.overdue",
    "backup.failed",
    "backup.orphaned",
]
Severity = Literal["info", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")
Receiver = Literal["webhook", "apprise"]

NotifiedEvents = Annotated[list[NotifiedEvent], Meta(min_length=1, max_length=16)]
FlowIds = Annotated[list[Id], Meta(max_length=1000)]
WebUrl = Annotated[
    str,
    Meta(
        max_length=2048,
        pattern=r"^https?://[^\s\x00-\x1f\x7f]+$(?!\n)",
        description="where a webhook is called",
        examples=["https://alerts.example.com/hooks/flows"],
    ),
]
VariableName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Z_][A-Z0-9_]{0,254}$(?!\n)",
        description="an environment variable of the notifier that holds the secret",
        examples=["ALERTS_KEY"],
    ),
]
SecretFile = Annotated[
    str,
    Meta(
        pattern=r"^/[^\x00-\x1f\x7f]{1,4095}$(?!\n)",
        description="the absolute path of a file of the notifier that holds the secret",
        examples=["/run/secrets/alerts"],
    ),
]
DigestMinutes = Annotated[
    int, Meta(ge=1, le=1440, description="collect for so many minutes from the first event on, then send one message")
]
ClockTime = Annotated[
    str,
    Meta(
        pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$(?!\n)",
        description="collect until this time of day, then send one message",
        examples=["07:30"],
    ),
]


def _told() -> list[NotifiedEvent]:
    """Return the events that people are told of unless they choose."""
    return ["flow.completed", "flow.skipped", "flow.missed", "flow.overdue"]


class NotificationSpec(Value, frozen=True, kw_only=True):
    """Who is told of what: events of at least a severity, of some flows or all, and the receiver.

    `labels`: those of a flow, or of a VM that it protects; all of them must be there. `first_failure`: of a flow's
    failed executions only the first one after a success. `recovered`: its first success after a failure too, whatever
    the severity. `digest_minutes` or `digest_at` (in `timezone`): what happened is collected, and sent as one message;
    `digest_empty`: at `digest_at` also when nothing happened.

    `secret_env` or `secret_file`: what a webhook is signed with, or the URL of an `apprise` receiver.
    """

    name: Name
    description: Prose = ""
    enabled: bool = True
    events: NotifiedEvents = field(default_factory=_told)
    severity: Severity = "warning"
    flows: FlowIds = []
    labels: Labels = {}
    first_failure: bool = False
    recovered: bool = False
    digest_minutes: DigestMinutes | None = None
    digest_at: ClockTime | None = None
    timezone: TimeZone = "UTC"
    digest_empty: bool = False
    receiver: Receiver = "webhook"
    url: WebUrl | None = None
    secret_env: VariableName | None = None
    secret_file: SecretFile | None = None


class NotificationPatch(Value, frozen=True, kw_only=True):
    """What changes in a notification."""

    name: Name | UnsetType = UNSET
    description: Prose | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    events: NotifiedEvents | UnsetType = UNSET
    severity: Severity | UnsetType = UNSET
    flows: FlowIds | UnsetType = UNSET
    labels: Labels | UnsetType = UNSET
    first_failure: bool | UnsetType = UNSET
    recovered: bool | UnsetType = UNSET
    digest_minutes: DigestMinutes | UnsetType | None = UNSET
    digest_at: ClockTime | UnsetType | None = UNSET
    timezone: TimeZone | UnsetType = UNSET
    digest_empty: bool | UnsetType = UNSET
    receiver: Receiver | UnsetType = UNSET
    url: WebUrl | UnsetType | None = UNSET
    secret_env: VariableName | UnsetType | None = UNSET
    secret_file: SecretFile | UnsetType | None = UNSET


class Notification(NotificationSpec, frozen=True, kw_only=True):
    """A notification as the log has it."""

    id: Id
    version: Count
    created_at: Instant
    updated_at: Instant
    created_by: Text


class FailedVm(Value, frozen=True, kw_only=True):
    """A VM whose backup failed, and why."""

    context_id: Id
    vm_name: Text
    error: Text


class Notified(Value, frozen=True, kw_only=True):
    """One event of the log that a message tells of; `text` says it in a sentence.

    `status`: an execution's, or the reason of a skip. `failed`: the first of the VMs that failed, of `jobs_failed`.
    """

    type: NotifiedEvent
    sequence: Count
    time: Instant
    severity: Severity
    text: Text
    flow_id: Id
    flow_name: Text
    execution_id: Id | None = None
    status: Text | None = None
    recovered: bool = False
    jobs: Count | None = None
    jobs_completed: Count | None = None
    jobs_failed: Count | None = None
    jobs_skipped: Count | None = None
    failed: Annotated[list[FailedVm], Meta(max_length=100)] = []
