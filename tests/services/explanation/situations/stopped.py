"""Executions that were stopped, and VMs that were left out."""

from __future__ import annotations

from schemas import commands as c
from schemas.definitions import Member, PolicySpec
from services.explanation.sentences import Told
from tests.services.explanation.played import DUE, THREE, at, situation
from tests.services.explanation.stage import FLOW, Stage


@situation
def cancelled(stage: Stage) -> Told:
    """What had run for ten minutes was told not to have run."""
    stage.house(vms=4, max_concurrent_jobs=2)
    stage.until(DUE)
    stage.begin("web-1", "web-2")
    stage.wait(300)
    stage.complete("web-1")
    stage.begin("web-3")
    stage.wait(300)
    stage.ask(c.CancelExecution(id=stage.execution()), by="bob")
    stage.wait(2)
    stage.give_up("web-2", "web-3")
    return stage.why(DUE)


@situation
def one_vm_cancelled(stage: Stage) -> Told:
    stage.house()
    stage.until(DUE)
    stage.begin(*THREE)
    stage.wait(60)
    stage.ask(c.CancelExecution(id=stage.execution(), context_id="id-of-web-2"), by="bob")
    stage.give_up("web-2")
    stage.wait(60)
    stage.complete("web-1", "web-3")
    return stage.why(DUE)


@situation
def took_too_long(stage: Stage) -> Told:
    stage.house(max_concurrent_jobs=2, policy=PolicySpec(name="gold", execution_timeout_seconds=3600))
    stage.until(DUE)
    stage.begin("web-1", "web-2")
    stage.until(at(2, 0, 1))
    stage.give_up("web-1", "web-2", reason="it took too long")
    return stage.why(DUE)


@situation
def start_deadline(stage: Stage) -> Told:
    stage.house(max_concurrent_jobs=1, policy=PolicySpec(name="gold", start_deadline_seconds=600))
    stage.until(DUE)
    stage.begin("web-1")
    stage.until(at(1, 10, 30))
    stage.complete("web-1")
    return stage.why(DUE)


@situation
def a_silent_worker(stage: Stage) -> Told:
    stage.house(vms=2)
    stage.until(DUE)
    stage.begin("web-1", "web-2")
    stage.wait(60)
    stage.ask(c.CancelExecution(id=stage.execution()), by="bob")
    stage.wait(5)
    stage.give_up("web-1")
    stage.wait(120)
    return stage.why(DUE)


@situation
def deleted_while_it_ran(stage: Stage) -> Told:
    stage.house(vms=2)
    stage.until(DUE)
    stage.begin("web-1")
    stage.wait(60)
    stage.ask(c.DeleteFlow(id=FLOW), by="bob")
    stage.wait(5)
    stage.give_up("web-1", reason="the flow was deleted")
    return stage.why(DUE)


@situation
def an_empty_group(stage: Stage) -> Told:
    stage.house(vms=0)
    stage.until(DUE)
    return stage.why(DUE)


@situation
def its_only_vm_left_out(stage: Stage) -> Told:
    stage.house(vms=1)
    stage.wait(60)
    stage.ask(c.DisableVm(id="id-of-web-1"), by="bob")
    stage.until(DUE)
    return stage.why(DUE)


@situation
def vms_left_out(stage: Stage) -> Told:
    stage.house(vms=5)
    stage.wait(60)
    stage.ask(c.DisableVm(id="id-of-web-1"), by="bob")
    for number in (2, 3):
        stage.ask(c.UpdateMember(id="group-id", context_id=f"id-of-web-{number}", enabled=False))
    stage.until(DUE)
    stage.back_up("web-4", "web-5")
    return stage.why(DUE)


@situation
def a_vm_disabled_meanwhile(stage: Stage) -> Told:
    stage.house(max_concurrent_jobs=1)
    stage.until(DUE)
    stage.begin("web-1")
    stage.wait(30)
    stage.ask(c.DisableVm(id="id-of-web-2"), by="bob")
    stage.ask(c.AddMember(id="group-id", member=Member(context_id="id-of-web-2")))  # rejected, and of no interest
    stage.wait(30)
    stage.complete("web-1")
    stage.back_up("web-3")
    return stage.why(DUE)


@situation
def repository_disabled_meanwhile(stage: Stage) -> Told:
    stage.house(max_concurrent_jobs=1)
    stage.until(DUE)
    stage.begin("web-1")
    stage.wait(30)
    stage.ask(c.DisableRepository(id="nas-id"), by="bob")
    stage.wait(30)
    stage.complete("web-1")
    return stage.why(DUE)
