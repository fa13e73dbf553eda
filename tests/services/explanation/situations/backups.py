"""What the backups of an execution waited for, and how they went."""

from __future__ import annotations

from schemas import commands as c
from schemas.definitions import PolicySpec, RepositoryPatch, SettingsPatch, VmPatch
from schemas.ids import ENGINE
from services.explanation.sentences import Told
from tests.services.explanation.played import DUE, THREE, at, situation
from tests.services.explanation.stage import Stage


@situation
def waited_for_a_slot_of_the_flow(stage: Stage) -> Told:
    stage.house(vms=4, max_concurrent_jobs=2)
    stage.until(DUE)
    stage.begin("web-1", "web-2")
    stage.wait(30)
    stage.complete("web-1")
    stage.begin("web-3")
    stage.wait(12)
    stage.complete("web-2")
    stage.back_up("web-4")
    stage.complete("web-3")
    return stage.why(DUE)


@situation
def waited_for_a_slot_of_the_repository(stage: Stage) -> Told:
    stage.house(vms=2, places=1, target_type="vm", target_id="id-of-web-1")
    databases = stage.another("databases", target_type="vm", target_id="id-of-web-2")
    stage.until(at(0, 59))
    stage.ask(c.ExecuteFlow(id=databases), by="bob")
    stage.begin("web-2")
    stage.until(at(1, 2, 5))
    stage.complete("web-2")
    stage.back_up("web-1")
    return stage.why(DUE)


@situation
def waited_for_a_slot_of_the_engine(stage: Stage) -> Told:
    stage.house()
    stage.ask(c.UpdateSettings(id=ENGINE, patch=SettingsPatch(max_concurrent_jobs=2)))
    stage.until(DUE)
    stage.begin("web-1", "web-2")
    stage.wait(75)
    stage.complete("web-1", "web-2")
    stage.back_up("web-3")
    return stage.why(DUE)


@situation
def waited_for_a_busy_vm(stage: Stage) -> Told:
    stage.house()
    other = stage.another("mondays", target_type="vm", target_id="id-of-web-2")
    stage.until(at(0, 59))
    stage.ask(c.ExecuteFlow(id=other), by="bob")
    stage.begin("web-2")
    stage.until(DUE)
    stage.begin("web-1", "web-3")
    stage.wait(41)
    stage.complete("web-2")
    stage.back_up("web-2")
    stage.complete("web-1", "web-3")
    return stage.why(DUE)


@situation
def a_limit_was_raised(stage: Stage) -> Told:
    stage.house(places=2)
    stage.until(DUE)
    stage.begin("web-1", "web-2")
    stage.wait(300)
    stage.ask(c.UpdateRepository(id="nas-id", patch=RepositoryPatch(max_concurrent_jobs=4)), by="bob")
    stage.back_up("web-3")
    stage.complete("web-1", "web-2")
    return stage.why(DUE)


@situation
def waited_for_a_worker(stage: Stage) -> Told:
    stage.house(vms=2)
    stage.until(DUE)
    stage.begin("web-1")
    stage.wait(41)
    stage.complete("web-1")
    stage.back_up("web-2")
    return stage.why(DUE)


@situation
def a_request_was_lost(stage: Stage) -> Told:
    stage.house(vms=1)
    stage.until(DUE)
    stage.wait(300)
    stage.lose("web-1")
    stage.back_up("web-1")
    return stage.why(DUE)


@situation
def a_worker_died(stage: Stage) -> Told:
    stage.house(vms=2)
    stage.until(DUE)
    stage.begin("web-1", "web-2")
    stage.wait(20)
    stage.complete("web-2")
    stage.wait(25)
    stage.begin("web-1", worker="worker-2", attempt=2)
    stage.wait(20)
    stage.complete("web-1", attempt=2)
    return stage.why(DUE)


@situation
def attempts_failed(stage: Stage) -> Told:
    stage.house(policy=PolicySpec(name="gold", retry_attempts=1))
    stage.until(DUE)
    stage.begin(*THREE)
    stage.wait(10)
    stage.complete("web-1")
    stage.retry("web-2", "connection reset by peer")
    stage.retry("web-3", "disk d: input/output error")
    stage.wait(30)
    stage.begin("web-2", "web-3", attempt=2)
    stage.wait(10)
    stage.complete("web-2", attempt=2)
    stage.fail("web-3", "disk d: input/output error at 2026-11-02T01:00:50.123456Z", attempt=2)
    return stage.why(DUE)


@situation
def all_failed(stage: Stage) -> Told:
    stage.house(vms=8)
    stage.until(DUE)
    names = [f"web-{number}" for number in range(1, 9)]
    stage.begin(*names)
    stage.wait(3)
    for name in names:
        stage.fail(name, "the repository is read-only")
    return stage.why(DUE)


@situation
def under_way(stage: Stage) -> Told:
    stage.house(vms=8, max_concurrent_jobs=4)
    stage.until(DUE)
    stage.begin("web-1", "web-2", "web-3")
    stage.wait(60)
    stage.complete("web-1")
    stage.begin("web-4")
    stage.retry("web-2", "connection reset by peer")
    stage.wait(10)
    return stage.why(DUE)


@situation
def under_way_and_waiting_for_another_flow(stage: Stage) -> Told:
    stage.house(vms=2)
    other = stage.another("mondays", target_type="vm", target_id="id-of-web-2")
    stage.until(at(0, 59))
    stage.ask(c.ExecuteFlow(id=other), by="bob")
    stage.begin("web-2")
    stage.until(DUE)
    stage.begin("web-1")
    stage.wait(60)
    return stage.why()


@situation
def no_worker_with_the_labels(stage: Stage) -> Told:
    stage.house(vms=2)
    stage.ask(c.UpdateRepository(id="nas-id", patch=RepositoryPatch(worker_labels={"site": "a"})))
    stage.until(DUE)
    stage.wait(60)
    stage.ask(c.UpdateVm(id="id-of-web-2", patch=VmPatch(worker_labels={"tier": "fast"})))
    stage.workers = [{"site": "b"}, {"site": "a"}]
    stage.wait(60)
    return stage.why()
