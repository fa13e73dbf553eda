"""Triggers that became no execution."""

from __future__ import annotations

from schemas import commands as c
from schemas.definitions import PolicySpec
from schemas.ids import ENGINE, scheduled_execution_id
from services.explanation.sentences import Told
from tests.services.explanation.played import DUE, THREE, at, situation
from tests.services.explanation.stage import FLOW, Stage


@situation
def frozen(stage: Stage) -> Told:
    stage.house()
    stage.wait(60)
    stage.ask(c.SetFreeze(id=ENGINE, until=at(6), reason="storage is moved"), by="bob")
    stage.until(at(1, 10))
    return stage.why(DUE)


@situation
def disabled_while_it_waited(stage: Stage) -> Told:
    stage.now = at(0, 58)
    stage.house(cron="*/5 * * * *", overlap_policy="buffer_one")
    stage.until(DUE)
    stage.begin(*THREE)
    stage.until(at(1, 6))
    stage.ask(c.DisableFlow(id=FLOW), by="bob")
    stage.wait(60)
    stage.complete(*THREE)
    return stage.why(at(1, 5))


@situation
def cancelled_while_it_waited(stage: Stage) -> Told:
    stage.house(overlap_policy="buffer_one")
    stage.until(at(0, 58))
    stage.ask(c.ExecuteFlow(id=FLOW), by="bob")
    stage.begin(*THREE)
    stage.until(at(1, 3))
    stage.ask(c.CancelExecution(id=scheduled_execution_id(FLOW, DUE)), by="carol")
    stage.wait(60)
    return stage.why(DUE)


@situation
def repository_disabled(stage: Stage) -> Told:
    stage.house()
    stage.wait(60)
    stage.ask(c.DisableRepository(id="nas-id"), by="bob")
    stage.until(at(1, 10))
    return stage.why(DUE)


@situation
def group_disabled(stage: Stage) -> Told:
    stage.house()
    stage.wait(60)
    stage.ask(c.DisableGroup(id="group-id"), by="bob")
    stage.until(at(1, 10))
    return stage.why(DUE)


@situation
def outdated(stage: Stage) -> Told:
    """The scheduler decided on the definitions of before, and was overtaken by an edit."""
    stage.house()
    stage.until(at(0, 59, 59))
    position = len(stage.entries)
    stage.ask(c.DisableFlow(id=FLOW), by="bob")
    stage.until(at(1, 0, 1))
    stage.say_due(DUE, decidedon=position)
    return stage.why(DUE)


@situation
def start_deadline_while_it_waited(stage: Stage) -> Told:
    stage.house(overlap_policy="buffer_one", policy=PolicySpec(name="gold", start_deadline_seconds=300))
    stage.until(at(0, 58))
    stage.ask(c.ExecuteFlow(id=FLOW), by="bob")
    stage.begin(*THREE)
    stage.until(at(1, 10))
    return stage.why(DUE)
