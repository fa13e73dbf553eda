"""Whether a VM is protected: decided from its last backups, and from what its flows' schedules have promised. Pure.

A schedule promises a good backup for each occurrence that fires, a while later (`overdue.grace`): by then it is *due*.
What lies in a freeze is not promised, and no flow promises anything for the time before it was armed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from api.readmodel.overdue import LATEST, SOONEST, grace
from api.responses.coverage import CoverageState
from schemas.base import Value
from schemas.definitions import ScheduleSpec
from schemas.ids import instant
from services.scheduler import calendar

LOOKED_BACK = tuple(
    timedelta(hours=hours) for hours in (1, 24, 8 * 24, 35 * 24, 400 * 24, 1_500 * 24)
)  # for an occurrence that is due


class Promise(Value, frozen=True, kw_only=True):
    """What a flow has promised a VM: from when on, and the newest occurrence for which a good backup is due by now.

    `due` is of the schedule, and may be before `since`; None: none is.
    """

    flow_id: str
    flow_name: str
    since: datetime
    due: datetime | None


class Standing(Value, frozen=True, kw_only=True):
    """How a VM is, and why. `flow_id`: whose promise is broken, of one that is stale."""

    state: CoverageState
    reason: str
    flow_id: str | None = None


def standing(
    promises: Sequence[Promise],
    *,
    enabled: bool,
    good: datetime | None,
    failed: datetime | None,
    error: str | None,
    by_hand: bool,
) -> Standing:
    """Return how a VM is. `promises`: of the flows that protect it; `by_hand`: others do, when somebody runs them.

    `good`: when its last good backup began; `failed`: when its last backup ended, if that failed, with its `error`.
    """
    if not enabled:
        return Standing(state="excluded", reason="it is disabled: no flow backs it up")
    if not promises:
        others = "it is backed up only when somebody asks for it" if by_hand else "no enabled flow backs it up"
        return Standing(state="unprotected", reason=others)
    if failed is not None:
        return Standing(state="failing", reason=f"its last backup failed at {instant(failed)}: {error or 'no reason'}")
    due = [one for one in promises if one.due is not None and (good is None or good < one.due)]
    broken = [one for one in due if one.due is not None and one.due > one.since]
    if broken:
        first = min(broken, key=lambda one: (one.due or one.since, one.flow_name))
        newest = "it has no good backup" if good is None else f"its last good backup began at {instant(good)}"
        wanted = f"flow {first.flow_name!r} was to make one at {instant(first.due or first.since)}"
        return Standing(state="stale", reason=f"{newest}, and {wanted}", flow_id=first.flow_id)
    if good is None:
        return Standing(state="pending", reason="it waits for its first backup, which is not due yet")
    if due:
        return Standing(state="pending", reason="its last good backup is from before its flow was set up or changed")
    return Standing(state="protected", reason=f"its last good backup began at {instant(good)}, and none is overdue")


def newest_due(
    schedule: ScheduleSpec,
    now: datetime,
    frozen: tuple[datetime, datetime] | None = None,
    budget: calendar.Budget | None = None,
) -> datetime | None:
    """Return the newest occurrence of a schedule for which a good backup is due at `now`; None when none is.

    `frozen`: from when until when nothing was promised. The older an occurrence, the earlier a backup for it is due.
    `budget`: of looks; when it is used up, nothing more is found.
    """
    jitter = timedelta(seconds=schedule.jitter_seconds)
    times = calendar.of(schedule)
    end = now - jitter - SOONEST
    if frozen and frozen[0] <= end < frozen[1]:
        end = frozen[0] - timedelta(microseconds=1)  # however long it has been
    for back in LOOKED_BACK:
        following: datetime | None = None
        for at in reversed(list(times.occurrences(end - back, end, budget))):
            following = following or times.next(at).at
            late = LATEST if following is None else grace(following - at)
            if now > at + jitter + late and not (frozen and frozen[0] <= at < frozen[1]):
                return at
            following = at
    return None


def fires_again(schedule: ScheduleSpec, now: datetime, budget: calendar.Budget | None = None) -> bool:
    """Tell whether a schedule has an occurrence to come, as far as it is looked for."""
    return calendar.of(schedule).fires_after(now, budget)
