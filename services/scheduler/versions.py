"""Versions: which definition of a flow and of its schedule was in force at an instant. Pure.

A scheduler that was paused, or lags behind, may append that a flow is due by definitions that had been replaced before
the event came to the log. Whoever reads the event finds out by its `decidedon`, and all readers find the same.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Generic, TypeVar

from schemas.base import Value
from schemas.definitions import Flow, Schedule
from schemas.events import FlowDefined, ScheduleDefined
from services.scheduler import calendar
from services.unusable import Unfoldable

KEPT = 16  # versions of one definition
_EVER = datetime.min.replace(tzinfo=UTC)

D = TypeVar("D", Flow, Schedule)


def position(decidedon: str | None) -> int:
    """Return the position that a decision was taken on; decisions of older code have none, and count.

    Raises `Unfoldable`.
    """
    if decidedon is None:
        return sys.maxsize
    if not (decidedon.isascii() and decidedon.isdecimal()):
        raise Unfoldable(f"decidedon is {decidedon!r}: it is no position on the log")
    return int(decidedon)


class Version(Value, Generic[D], frozen=True):
    """A definition (None: there was none), since when it counts, and where on the log it stands."""

    sequence: int
    since: datetime
    definition: D | None


class _History(Generic[D]):
    """The last versions of the definitions of one kind. What was never changed has no history."""

    def __init__(self) -> None:
        self._of: dict[str, list[Version[D]]] = {}

    def add(self, id_: str, before: D | None, version: Version[D]) -> None:
        known = self._of.get(id_)
        if known is None:
            if before is None:
                return
            known = self._of[id_] = [Version(0, _EVER, before)]
        known.append(version)
        del known[:-KEPT]

    def after(self, id_: str, sequence: int) -> list[Version[D]]:
        return [version for version in self._of.get(id_, ()) if version.sequence > sequence]

    def at(self, id_: str, instant: datetime, current: D | None) -> Version[D]:
        """Return what was in force at an instant; what changed in that very instant was not yet."""
        found = Version(0, _EVER, current)
        for number, version in enumerate(self._of.get(id_, ())):
            if number == 0 or version.since < instant:
                found = version
        return found


class Versions:
    """The versions of flows and schedules. `evolve_…` changes it in place, before the catalogue takes the event in."""

    def __init__(self) -> None:
        self._flows: _History[Flow] = _History()
        self._schedules: _History[Schedule] = _History()

    def evolve_flow(self, event: FlowDefined, before: Flow | None, sequence: int, time: datetime) -> None:
        self._flows.add(event.id, before, Version(sequence, time, event.definition))

    def evolve_schedule(self, event: ScheduleDefined, before: Schedule | None, sequence: int, time: datetime) -> None:
        self._schedules.add(event.id, before, Version(sequence, time, event.definition))

    def changed_at(self, flow_id: str, schedule_id: str, decidedon: int) -> datetime | None:
        """Return when a flow or its schedule was first changed after a decision, None when neither was."""
        changes = (*self._flows.after(flow_id, decidedon), *self._schedules.after(schedule_id, decidedon))
        return min((change.since for change in changes), default=None)

    def outdated(
        self,
        flow: Flow | None,
        schedules: dict[str, Schedule],
        *,
        flow_id: str,
        schedule_id: str,
        occurrence: datetime,
        decidedon: int,
    ) -> bool:
        """Tell whether a flow was not due at an occurrence after all, as definitions had changed after the decision.

        `flow` and `schedules` are the current definitions.
        """
        changed_at = self.changed_at(flow_id, schedule_id, decidedon)
        if changed_at is None or occurrence <= changed_at:
            return False
        then = self._flows.at(flow_id, occurrence, flow).definition
        if then is None or not then.enabled or then.schedule_id is None:
            return True
        schedule = self._schedules.at(then.schedule_id, occurrence, schedules.get(then.schedule_id)).definition
        if schedule is None or not schedule.enabled or occurrence <= max(then.armed_at, schedule.armed_at):
            return True
        return not calendar.of(schedule).fires(occurrence)
