"""How a flow came to be due, or was asked for, and which executions it met."""

from __future__ import annotations

from schemas import commands as c
from schemas.ids import AD_HOC
from services.explanation.sentences import Told
from tests.services.explanation.played import DUE, THREE, at, situation
from tests.services.explanation.stage import FLOW, Stage


@situation
def on_time(stage: Stage) -> Told:
    stage.house()
    stage.until(DUE)
    stage.back_up(*THREE)
    return stage.why(DUE)


@situation
def caught_up(stage: Stage) -> Told:
    """Asked about by its time, it is this execution that is told of, and not what ran at that time."""
    stage.house()
    stage.stop("scheduler")
    stage.until(at(1, 41, 12))
    stage.start("scheduler")
    stage.back_up(*THREE)
    return stage.why(DUE)


@situation
def missed_while_the_scheduler_was_down(stage: Stage) -> Told:
    stage.house(catch_up="none")
    stage.stop("scheduler")
    stage.until(at(1, 41))
    stage.start("scheduler")
    return stage.why(DUE)


@situation
def several_missed(stage: Stage) -> Told:
    stage.house(catch_up_window_seconds=3600)
    stage.stop("scheduler")
    stage.until(at(9, day=5))
    stage.start("scheduler")
    return stage.why()


@situation
def with_jitter(stage: Stage) -> Told:
    stage.house(jitter_seconds=600)
    stage.until(at(1, 15))
    stage.back_up(*THREE)
    return stage.why(DUE)


@situation
def enabled_with_what_it_missed(stage: Stage) -> Told:
    stage.house()
    stage.wait(60)
    stage.ask(c.DisableFlow(id=FLOW), by="bob")
    stage.until(at(7, 30))
    stage.ask(c.EnableFlow(id=FLOW, run_missed=True))
    stage.back_up(*THREE)
    return stage.why(DUE)


@situation
def backfilled(stage: Stage) -> Told:
    stage.house(catch_up="none")
    stage.stop("scheduler")
    stage.until(at(1, 30, day=3))
    stage.start("scheduler")
    stage.ask(c.CreateBackfill(id="b", flow_id=FLOW, occurrences=[DUE, at(1, day=3)]))
    stage.back_up(*THREE, seconds=41)
    stage.back_up(*THREE)
    return stage.why(at(1, day=3))


@situation
def backfill_cancelled(stage: Stage) -> Told:
    stage.house(catch_up="none")
    stage.stop("scheduler")
    stage.until(at(1, 30, day=3))
    stage.start("scheduler")
    stage.ask(c.CreateBackfill(id="b", flow_id=FLOW, occurrences=[DUE, at(1, day=3)]))
    stage.begin(*THREE)
    stage.wait(10)
    stage.ask(c.CancelBackfill(id="b", flow_id=FLOW), by="bob")
    return stage.why(at(1, day=3))


@situation
def by_hand(stage: Stage) -> Told:
    stage.house(vms=1)
    stage.wait(60)
    stage.ask(c.ExecuteFlow(id=FLOW))
    stage.back_up("web-1", seconds=0)
    return stage.why()


@situation
def retried(stage: Stage) -> Told:
    stage.house()
    stage.until(DUE)
    stage.begin(*THREE)
    stage.wait(20)
    stage.complete("web-1")
    stage.fail("web-2", "/disks/web-2: no space left on device.")
    stage.fail("web-3", "/disks/web-3: no space left on device.")
    stage.wait(3600)
    retry = c.RetryExecution(id=stage.execution(), flow_id=FLOW, context_ids=["id-of-web-2", "id-of-web-3"])
    stage.ask(retry)
    stage.back_up("web-2", "web-3")
    return stage.why()


@situation
def one_vm_alone(stage: Stage) -> Told:
    stage.house()
    stage.wait(60)
    stage.ask(c.BackupVm(id=AD_HOC, context_id="id-of-web-2", repository_id="nas-id"), by="bob")
    stage.back_up("web-2")
    return stage.of(stage.execution())


@situation
def waited_for_the_one_before(stage: Stage) -> Told:
    """It had waited for 41 seconds, and not a word of it was told."""
    stage.now = at(0, 58)
    stage.house(cron="*/5 * * * *", overlap_policy="buffer_one")
    stage.until(DUE)
    stage.begin(*THREE)
    stage.until(at(1, 5, 41))
    stage.complete(*THREE)
    stage.back_up(*THREE)
    return stage.why(at(1, 5))


@situation
def waits_for_the_one_before(stage: Stage) -> Told:
    stage.house(overlap_policy="buffer_all")
    stage.until(DUE)
    stage.begin(*THREE)
    stage.wait(1200)
    stage.ask(c.ExecuteFlow(id=FLOW), by="bob")
    stage.wait(90)
    return stage.why()


@situation
def skipped_as_one_was_running(stage: Stage) -> Told:
    stage.now = at(0, 58)
    stage.house(cron="*/5 * * * *")
    stage.until(DUE)
    stage.begin(*THREE)
    stage.until(at(1, 6))
    return stage.why(at(1, 5))


@situation
def skipped_as_another_waited_already(stage: Stage) -> Told:
    stage.now = at(0, 58)
    stage.house(cron="*/5 * * * *", overlap_policy="buffer_one")
    stage.until(DUE)
    stage.begin(*THREE)
    stage.until(at(1, 11))
    return stage.why(at(1, 10))


@situation
def took_the_place_of_another(stage: Stage) -> Told:
    stage.house(overlap_policy="cancel_other")
    stage.until(DUE)
    stage.begin(*THREE)
    stage.wait(600)
    stage.ask(c.ExecuteFlow(id=FLOW), by="bob")
    stage.wait(5)
    stage.give_up(*THREE, reason="it was to stop")
    stage.back_up(*THREE)
    return stage.why()


@situation
def made_way_for_another(stage: Stage) -> Told:
    stage.house(overlap_policy="cancel_other")
    stage.until(DUE)
    stage.begin("web-1", "web-2")
    stage.wait(600)
    stage.ask(c.ExecuteFlow(id=FLOW), by="bob")
    stage.wait(5)
    stage.give_up("web-1", "web-2", reason="it was to stop")
    return stage.why(DUE)


@situation
def no_executor(stage: Stage) -> Told:
    stage.house()
    stage.stop("executor")
    stage.until(at(1, 2))
    stage.ask(c.DisableVm(id="id-of-web-3"))
    stage.start("executor")
    stage.back_up("web-1", "web-2")
    return stage.why(DUE)


@situation
def no_executor_yet(stage: Stage) -> Told:
    stage.house()
    stage.stop("executor")
    stage.until(at(1, 2))
    return stage.why(DUE)
