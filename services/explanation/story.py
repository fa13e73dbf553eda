"""What all that is told has in common: the survey, the clock, and how executions and changes are named. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from schemas.base import Value
from schemas.definitions import Flow, Schedule
from schemas.ids import AD_HOC
from services.explanation.definitions import Change
from services.explanation.sentences import who
from services.explanation.survey import Run, Survey
from services.explanation.words import Clock


class Story(Value, frozen=True, kw_only=True):
    """What is told from, and by which clock. `now`: up to when something may be to come.

    `workers`: the labels of each worker that is there; None when that is not known.
    `others`: what other flows did meanwhile is among what it is told from.
    """

    survey: Survey
    clock: Clock
    now: datetime
    workers: Sequence[Mapping[str, str]] | None = None
    others: bool = True

    def named(self, run: Run) -> str:
        """Return what people call another execution: by its occurrence, or by who asked for it."""
        if run.occurrence is not None and run.backfill_id is None:
            return f"the execution of {self.clock.at(run.occurrence)}"
        by = run.trigger or run.started
        asked = f"that {who(by)} asked for at {self.clock.at(by.envelope.time)}" if by else "that was asked for"
        if run.occurrence is not None:
            return f"the backfill's execution of {self.clock.at(run.occurrence)}"
        return f"the execution {asked}"

    def flow_name(self, flow_id: str) -> str:
        return self.survey.definitions.name("flow", flow_id, self.survey.last)

    def vm_name(self, context_id: str) -> str:
        return self.survey.definitions.name("vm", context_id, self.survey.last)

    def by(self, change: Change | None) -> str:
        """Return who made a change and when, with a comma before it; nothing when it is not known."""
        if change is None:
            return ""
        return f", by {who(change.entry)} at {self.clock.at(change.entry.envelope.time)}"


def schedule_of(survey: Survey, flow: Flow | None, sequence: int) -> Schedule | None:
    """Return the schedule that a flow was on."""
    return survey.definitions.schedule(flow.schedule_id, sequence) if flow and flow.schedule_id else None


def is_ad_hoc(run: Run) -> bool:
    return run.flow_id == AD_HOC
