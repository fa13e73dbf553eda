"""Instants at which a flow was not due at all."""

from __future__ import annotations

from datetime import UTC, datetime

from schemas import commands as c
from schemas.definitions import Exclusion, FlowPatch, SchedulePatch
from schemas.ids import ENGINE
from services.explanation.sentences import Told
from tests.services.explanation.played import DUE, THREE, at, situation
from tests.services.explanation.stage import FLOW, Stage


@situation
def disabled_then(stage: Stage) -> Told:
    """A flow that is enabled again was never told to have been disabled."""
    stage.house()
    stage.wait(3600)
    stage.ask(c.DisableFlow(id=FLOW), by="bob")
    stage.until(at(7, 30))
    stage.ask(c.EnableFlow(id=FLOW))
    stage.until(at(9))
    return stage.why(DUE)


@situation
def disabled_and_running_by_hand(stage: Stage) -> Told:
    stage.house()
    stage.wait(3600)
    stage.ask(c.DisableFlow(id=FLOW), by="bob")
    stage.until(at(0, 30))
    stage.ask(c.ExecuteFlow(id=FLOW))
    stage.begin(*THREE)
    stage.until(at(2))
    return stage.why(DUE)


@situation
def created_disabled(stage: Stage) -> Told:
    stage.house(enabled=False)
    stage.until(at(9))
    return stage.why(DUE)


@situation
def schedule_disabled(stage: Stage) -> Told:
    stage.house()
    stage.wait(3600)
    stage.ask(c.DisableSchedule(id="schedule-id"), by="bob")
    stage.until(at(9))
    return stage.why(DUE)


@situation
def taken_off_its_schedule(stage: Stage) -> Told:
    stage.house()
    stage.wait(3600)
    stage.ask(c.UpdateFlow(id=FLOW, patch=FlowPatch(schedule_id=None)), by="bob")
    stage.until(at(9))
    return stage.why(DUE)


@situation
def another_time_of_day(stage: Stage) -> Told:
    stage.house()
    stage.until(DUE)
    stage.back_up(*THREE)
    stage.until(at(12))
    return stage.why(at(4, 30))


@situation
def another_time_while_it_ran(stage: Stage) -> Told:
    stage.house()
    stage.until(DUE)
    stage.begin(*THREE)
    stage.until(at(12))
    return stage.why(at(4, 30))


@situation
def excluded(stage: Stage) -> Told:
    stage.house(exclusions=[Exclusion(name="weekends", weekdays=["sat", "sun"])])
    stage.stop("scheduler")
    stage.until(at(9, day=9))
    return stage.why(at(1, day=7))


@situation
def scheduled_only_since(stage: Stage) -> Told:
    stage.house(cron="0 4 * * *")
    stage.until(at(9))
    stage.ask(c.UpdateSchedule(id="schedule-id", patch=SchedulePatch(cron_expression="0 2 * * *")), by="bob")
    stage.wait(60)
    return stage.why(DUE)


@situation
def not_born_yet(stage: Stage) -> Told:
    stage.house()
    stage.wait(60)
    return stage.why(at(1, day=1))


@situation
def deleted_before(stage: Stage) -> Told:
    stage.house()
    stage.wait(60)
    stage.ask(c.DeleteFlow(id=FLOW), by="bob")
    stage.until(at(9))
    return stage.why(DUE)


@situation
def jumped_over_by_the_clocks(stage: Stage) -> Told:
    stage.house(cron="30 2 * * *", dst_gap="skip")
    stage.stop("scheduler")
    stage.until(datetime(2027, 3, 28, 9, tzinfo=UTC))
    return stage.why(datetime(2027, 3, 28, 1, 30, tzinfo=UTC))


@situation
def shifted_by_the_clocks(stage: Stage) -> Told:
    stage.house(cron="30 2 * * *")
    stage.stop("scheduler")
    stage.until(datetime(2027, 3, 28, 9, tzinfo=UTC))
    return stage.why(datetime(2027, 3, 28, 1, 30, tzinfo=UTC))


@situation
def to_come(stage: Stage) -> Told:
    stage.house()
    stage.wait(60)
    return stage.why(DUE)


@situation
def to_come_in_a_freeze(stage: Stage) -> Told:
    stage.house()
    stage.wait(60)
    stage.ask(c.SetFreeze(id=ENGINE, until=at(6), reason="storage is moved"), by="bob")
    return stage.why(DUE)


@situation
def nobody_said_so(stage: Stage) -> Told:
    stage.house()
    stage.stop("scheduler")
    stage.until(at(1, 20))
    return stage.why(DUE)


@situation
def never_ran(stage: Stage) -> Told:
    stage.house(schedule_id=None)
    stage.wait(60)
    return stage.why()
