"""One look in the morning: are the VMs safe, what needs attention, what was and what is next."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import field

from api.responses.calendar import FreezeResponse
from api.responses.coverage import CoverageCounts
from schemas.base import Value

VerdictState = Literal["safe", "attention", "danger", "empty"]
Severity = Literal["danger", "warning", "info"]
AttentionKind = Literal[
    "vm_failing",
    "vm_stale",
    "vm_unprotected",
    "flow_overdue",
    "flow_skipped",
    "repository_unreachable",
    "repository_filling",
    "no_worker",
    "queue_stuck",
    "token_expires",
    "freeze",
    "dead_letters",
    "service",
]
SubjectKind = Literal["vm", "flow", "repository", "token", "worker", "engine"]


class Verdict(Value, frozen=True, kw_only=True):
    """`safe`: all is well; `attention`: something is to be looked at; `danger`: VMs are not safe; `empty`: no VMs."""

    state: VerdictState
    sentence: str


class Subject(Value, frozen=True, kw_only=True):
    """What something is about; several VMs of one cause are one item, about the flow or the engine."""

    kind: SubjectKind
    id: str | None
    name: str


class Action(Value, frozen=True, kw_only=True):
    """What to do. `path`: of the API, with its `method`; without a method the path of a page, with its filters."""

    label: str
    method: Literal["POST", "PATCH", "DELETE"] | None
    path: str


class Attention(Value, frozen=True, kw_only=True):
    """Something to look at. `count`: how many things it is about; `since`: since when, as far as that is known."""

    kind: AttentionKind
    severity: Severity
    subject: Subject
    count: int
    since: datetime | None
    text: str
    action: Action


class BackupCounts(Value, frozen=True, kw_only=True):
    """Backups that began in a night: how many are good, failed, were skipped or cancelled, or have not ended yet."""

    completed: int
    failed: int
    skipped: int
    running: int


class Night(Value, frozen=True, kw_only=True):
    """From six in the evening until eight in the morning of today, in the reader's zone, or until now.

    `executions`: how many that began then are in each status; `bytes`: what their backups moved.
    """

    from_: datetime = field(name="from")
    to: datetime
    executions: dict[str, int]
    backups: BackupCounts
    bytes: int


class UpcomingRun(Value, frozen=True, kw_only=True):
    """When a flow's turn is, as it is expected."""

    flow_id: str
    flow_name: str
    at: datetime


class Overview(Value, frozen=True, kw_only=True):
    """The state of everything. `attention`: what is most urgent first, at most 50 of `attention_total`.

    `running`: executions that run. `next`: the first 20 runs of the next 24 hours, of `next_total`; `next_complete`:
    no more than these were left out of the count.
    """

    at: datetime
    timezone: str
    verdict: Verdict
    vms: CoverageCounts
    attention: list[Attention]
    attention_total: int
    last_night: Night
    running: int
    next: list[UpcomingRun]
    next_total: int
    next_complete: bool
    freeze: FreezeResponse | None
