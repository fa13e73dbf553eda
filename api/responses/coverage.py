"""Which VMs are protected, now and day by day."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from api.responses.definitions import GroupOfVm
from schemas.base import Value

CoverageState = Literal["failing", "stale", "unprotected", "pending", "protected", "excluded"]


class CoverageCounts(Value, frozen=True, kw_only=True):
    """How many VMs are in each state."""

    failing: int = 0
    stale: int = 0
    unprotected: int = 0
    pending: int = 0
    protected: int = 0
    excluded: int = 0


class FlowOfVm(Value, frozen=True, kw_only=True):
    """An enabled flow that backs a VM up. `scheduled`: its schedule will have it run; else it is run by hand alone."""

    id: str
    name: str
    scheduled: bool


class CoveredVm(Value, frozen=True, kw_only=True):
    """A VM, and whether it is protected; times are of backups that ended, by whatever flow or none.

    `state`: `failing`: its last backup that ended failed, after all attempts; `stale`: it has no good backup since an
    occurrence of a schedule by which there should be one; `unprotected`: no enabled flow with a schedule that will fire
    backs it up; `pending`: it has no good backup, or none as new as its schedules want, and they have not had the time
    to make one; `protected`: none of these; `excluded`: it is disabled. `reason` says it in words.

    `last_good_at`: when its last good backup ended; `last_attempt_at`: when its last backup did that succeeded or
    failed; `last_error`: why that one failed, null when it did not. `bytes`: what its last good backup takes.
    `worst_gap_seconds`: the longest time without a good backup within 90 days, up to now; null without a good one.
    """

    context_id: str
    vm_name: str
    enabled: bool
    state: CoverageState
    reason: str
    tags: list[str]
    labels: dict[str, str]
    groups: list[GroupOfVm]
    flows: list[FlowOfVm]
    last_good_at: datetime | None
    last_attempt_at: datetime | None
    last_error: str | None
    worst_gap_seconds: float | None
    bytes: int


class Coverage(Value, frozen=True, kw_only=True):
    """A page of VMs; `counts` is over all that match but for `state`, `total` how many there are to page through."""

    vms: list[CoveredVm]
    total: int
    counts: CoverageCounts
    at: datetime


class NamedGroup(Value, frozen=True, kw_only=True):
    group_id: str
    group_name: str


class VmDays(Value, frozen=True, kw_only=True):
    """A VM, a character for each day in `cells`. `groups`: places in the list of groups. `label`: its value of `by`."""

    context_id: str
    vm_name: str
    state: CoverageState
    groups: list[int]
    label: str | None
    cells: str


class CoverageDays(Value, frozen=True, kw_only=True):
    """VMs by days: of each VM and day what became of the backups that began then. `legend`: what characters mean."""

    days: list[str]
    groups: list[NamedGroup]
    vms: list[VmDays]
    total: int
    counts: CoverageCounts
    legend: dict[str, str]
    timezone: str
    at: datetime
