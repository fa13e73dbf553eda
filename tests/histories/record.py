"""Record golden histories: `python -m tests.histories.record [NAME …]` writes tests/histories/NAME.jsonl.

Each is what a real run left on a real log, services and all. tests/services/executor/test_histories.py replays them:
record one anew only when a rule was meant to change.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from bus import history
from bus.clock import now
from bus.connection import connect, worker_name
from bus.log import Log
from bus.setup import declare_at
from schemas import commands as c
from schemas.definitions import FlowPatch, GroupPatch, Member, PolicySpec, ScheduleSpec, SettingsPatch, VmPatch
from schemas.events import BackupFailed, BackupStarted
from schemas.ids import AD_HOC, ENGINE
from services import database
from services.executor.app import Executor
from services.registry.app import Registry
from services.scheduler import deadlines
from services.scheduler.app import Scheduler
from services.worker.app import Worker
from services.worker.engines.engine import Report, Result
from tests.histories.files import FOLDER
from tests.servers import root, server_in
from tests.services.conftest import Engine
from tests.services.house import house
from tests.support import eventually, sent

SCENARIOS: dict[str, Callable[[Engine], Awaitable[None]]] = {}


def scenario(run: Callable[[Engine], Awaitable[None]]) -> Callable[[Engine], Awaitable[None]]:
    SCENARIOS[run.__name__] = run
    return run


async def set_up(engine: Engine, *more: c.Command, vms: int = 3, **given: Any) -> None:
    flow = {name: given.pop(name) for name in list(given) if name in FlowPatch.__struct_fields__}
    commands = [*house(vms=vms, **given), *([c.UpdateFlow(id="flow", patch=FlowPatch(**flow))] if flow else []), *more]
    async with engine.running(Registry()):
        for command in commands:
            before = len(await engine.messages("catalog.*.*"))
            await engine.ask(command)
            await engine.until("catalog.*.*", before + 1)


async def execution(engine: Engine, number: int = 1) -> str:
    return (await engine.until("flow.started.*", number))[number - 1].execution_id


async def over(engine: Engine, executions: int = 1) -> None:
    """Wait until so many executions have ended."""
    await engine.until("flow.completed.*", executions, within=60)


@scenario
async def scheduled(engine: Engine) -> None:
    """An occurrence of a schedule, with a member that is disabled and one that goes first."""
    every_minute = c.CreateSchedule(id="s", spec=ScheduleSpec(name="s", cron_expression="* * * * *"))
    members = [
        c.UpdateMember(id="group", context_id="vm-1", enabled=False),
        c.UpdateMember(id="group", context_id="vm-3", priority=5),
    ]
    await set_up(engine, every_minute, *members, c.UpdateFlow(id="flow", patch=FlowPatch(schedule_id="s")), vms=4)
    ahead = {"by": timedelta(seconds=61)}
    async with engine.running(Scheduler(lambda: now() + ahead["by"], max_offset=None), Executor(), Worker()):
        await over(engine)


async def overlap(engine: Engine, policy: Any, ends: int) -> None:
    await set_up(engine, vms=2, config={"seconds": 1}, overlap_policy=policy)
    async with engine.running(Executor(), Worker()):
        await engine.ask(c.ExecuteFlow(id="flow"))
        await engine.until("backup.started.>", 2)
        await engine.ask(c.ExecuteFlow(id="flow"), c.ExecuteFlow(id="flow"))
        await over(engine, ends)


@scenario
async def overlap_skip(engine: Engine) -> None:
    await overlap(engine, "skip", 1)


@scenario
async def overlap_buffer_one(engine: Engine) -> None:
    await overlap(engine, "buffer_one", 2)


@scenario
async def overlap_buffer_all(engine: Engine) -> None:
    await overlap(engine, "buffer_all", 3)


@scenario
async def overlap_cancel_other(engine: Engine) -> None:
    await overlap(engine, "cancel_other", 2)


@scenario
async def buffered(engine: Engine) -> None:
    """What waits says so on the log: one begins in its turn, one is cancelled before. Older histories lack that."""
    await set_up(engine, vms=2, config={"seconds": 1}, overlap_policy="buffer_all")
    async with engine.running(Executor(), Worker()):
        await engine.ask(*[c.ExecuteFlow(id="flow")] * 3)
        _, cancelled = await engine.until("flow.buffered.*", 2)
        await engine.ask(c.CancelExecution(id=cancelled.execution_id))
        await engine.until("flow.skipped.*")
        await over(engine, 2)


@scenario
async def overlap_allow(engine: Engine) -> None:
    await overlap(engine, "allow", 3)


@scenario
async def limits(engine: Engine) -> None:
    """Two flows over the same VMs: limits of both, one backup of a VM at a time, and the more urgent one first."""
    second = house(vms=0)[-1]
    assert isinstance(second, c.CreateFlow)
    fields = {field: getattr(second.spec, field) for field in second.spec.__struct_fields__}
    urgent = c.CreateFlow(id="urgent", spec=type(second.spec)(**{**fields, "name": "urgent", "priority": 10}))
    in_all = c.UpdateSettings(id=ENGINE, patch=SettingsPatch(max_concurrent_jobs=4))
    await set_up(engine, urgent, in_all, vms=6, config={"seconds": 0.2}, max_concurrent_jobs=2)
    await engine.ask(c.ExecuteFlow(id="flow"), c.ExecuteFlow(id="urgent"))
    async with engine.running(Executor(), Worker(slots=8)):
        await over(engine, 2)


@scenario
async def cancelled(engine: Engine) -> None:
    await set_up(engine, vms=4, config={"seconds": 60}, max_concurrent_jobs=2)
    async with engine.running(Executor(), Worker()):
        await engine.ask(c.ExecuteFlow(id="flow"))
        await engine.until("backup.started.>", 2)
        await engine.ask(c.CancelExecution(id=await execution(engine)))
        await over(engine)
        await engine.ask(c.CancelExecution(id=await execution(engine)))
        await engine.until("rejected.execution.cancel")


@scenario
async def one_vm_cancelled(engine: Engine) -> None:
    await set_up(engine, vms=3, config={"seconds": 1})
    async with engine.running(Executor(), Worker()):
        await engine.ask(c.ExecuteFlow(id="flow"))
        await engine.until("backup.started.>", 3)
        await engine.ask(c.CancelExecution(id=await execution(engine), context_id="vm-1"))
        await over(engine)


@scenario
async def attempts_and_retry(engine: Engine) -> None:
    """VMs that fail are tried again, then given up; a retry runs those alone."""
    rules = PolicySpec(name="policy", retry_attempts=1, retry_delay_seconds=1)
    await set_up(engine, vms=6, config={"failure_rate": 0.7, "seed": "2"}, policy=rules)
    async with engine.running(Executor(), Worker()):
        await engine.ask(c.ExecuteFlow(id="flow"))
        await over(engine)
        failed = [event.context_id for event in await engine.messages("backup.failed.>")]
        await engine.ask(c.RetryExecution(id=await execution(engine), flow_id="flow", context_ids=failed))
        await over(engine, 2)


@scenario
async def start_deadline(engine: Engine) -> None:
    """One slot, slow backups: what has not begun in time is skipped, and so is an execution that waits."""
    rules = PolicySpec(name="policy", start_deadline_seconds=1)
    given = {"max_concurrent_jobs": 1, "overlap_policy": "buffer_one"}
    await set_up(engine, vms=3, config={"seconds": 2.5}, policy=rules, **given)
    async with engine.running(Scheduler(), Executor(), Worker()):
        await engine.ask(c.ExecuteFlow(id="flow"), c.ExecuteFlow(id="flow"))
        await over(engine)
        await engine.until("flow.skipped.*")


@scenario
async def execution_timeout(engine: Engine) -> None:
    rules = PolicySpec(name="policy", execution_timeout_seconds=1)
    await set_up(engine, vms=3, config={"seconds": 60}, policy=rules, max_concurrent_jobs=2)
    async with engine.running(Scheduler(), Executor(), Worker()):
        await engine.ask(c.ExecuteFlow(id="flow"))
        await over(engine)


class Deaf:
    """An engine that does not hear that it is to stop."""

    async def backup(self, request: Any, attempt: int, report: Report) -> Result:
        left = 8.0
        while left > 0:
            left -= 1
            try:
                await asyncio.sleep(1)  # not a wait: its work
            except asyncio.CancelledError:
                continue
        return Result(bytes_read=1, bytes_transferred=1, snapshot_ref="late")

    async def discard(self, request: Any, *, keep: str | None) -> None:
        pass


@scenario
async def silent_worker(engine: Engine) -> None:
    """A worker that does not answer a stop is not waited for."""
    deadlines.GRACE = timedelta(seconds=2)
    await set_up(engine, vms=2)
    async with engine.running(Scheduler(), Executor(), Worker(engines={"simulated": Deaf()})):
        await engine.ask(c.ExecuteFlow(id="flow"))
        await engine.until("backup.started.>", 2)
        await engine.ask(c.CancelExecution(id=await execution(engine)))
        await over(engine)


@scenario
async def zombie(engine: Engine) -> None:
    """What a worker says that was thought dead, after another one has begun anew, does not count."""
    await set_up(engine, vms=1)
    async with engine.running(Executor()):
        await engine.ask(c.ExecuteFlow(id="flow"))
        (request,) = await engine.until("backup.requested.>")
        about = {field: getattr(request, field) for field in ("flow_id", "execution_id", "backup_id", "context_id")}
        dead = BackupStarted(**about, attempt=1, worker="thought-dead")
        await engine.log.publish_once(sent(dead, id="dead", time=now()))
        async with engine.running(Worker()):
            await engine.until("backup.completed.>")
            await over(engine)
        await engine.log.publish_once(sent(BackupFailed(**about, attempt=1, error="late"), id="late", time=now()))


@scenario
async def changed_while_running(engine: Engine) -> None:
    """A VM is disabled, one leaves the group, one joins, and in the end the flow is deleted, all while it runs."""
    await set_up(engine, vms=5, config={"seconds": 1}, max_concurrent_jobs=1)
    async with engine.running(Registry(), Executor(), Worker()):
        await engine.ask(c.ExecuteFlow(id="flow"))
        await engine.until("backup.started.>")
        await engine.ask(
            c.UpdateVm(id="vm-1", patch=VmPatch(enabled=False)),
            c.RemoveMember(id="group", context_id="vm-2"),
            c.CreateVm(id="late", spec=house(vms=1)[0].spec),  # type: ignore[attr-defined]
            c.AddMember(id="group", member=Member(context_id="late")),
            c.UpdateGroup(id="group", patch=GroupPatch(enabled=False)),
        )
        await engine.until("backup.started.>", 2)
        await engine.ask(c.DeleteFlow(id="flow"))
        await over(engine)


@scenario
async def executors_come_and_go(engine: Engine) -> None:
    """Two executors at once, each replaced in the middle."""
    await set_up(engine, vms=12, config={"seconds": 0.3}, max_concurrent_jobs=3, overlap_policy="buffer_one")
    async with engine.running(Worker()):
        await engine.ask(c.ExecuteFlow(id="flow"), c.ExecuteFlow(id="flow"))
        for ends in (2, 5, 8, 14):
            async with engine.running(Executor(), Executor()):
                await engine.until("backup.completed.>", ends)
        async with engine.running(Executor()):
            await over(engine, 2)


@scenario
async def ad_hoc(engine: Engine) -> None:
    await set_up(engine, vms=1)
    async with engine.running(Executor(), Worker()):
        wish = c.BackupVm(id=AD_HOC, context_id="vm-0", repository_id="repository")
        await engine.ask(wish, c.BackupVm(id=AD_HOC, context_id="gone", repository_id="repository"))
        await over(engine)
        await engine.until("flow.skipped.*")


async def record(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = server_in(Path(folder) / "nats")
        server.start()
        try:
            client = await connect(root(server), "recorder-of-histories")
            await declare_at(server.url)
            log = Log(client)
            engine = Engine(server, log, database.sqlite_url(Path(folder) / "unused.db"))
            await SCENARIOS[name](engine)

            async def quiet() -> bool:
                before = await log.identity()
                await asyncio.sleep(0.5)  # not a wait: for so long nothing is to come
                return before == await log.identity()

            await eventually(quiet)
            entries = await log.read([">"])
            lines = b"".join(map(history.dump, entries)).replace(worker_name().encode(), b"worker-1")
            (FOLDER / f"{name}.jsonl").write_bytes(lines)
            await client.close()
        finally:
            server.stop()
    print(f"{name}: {len(entries)} messages")


if __name__ == "__main__":
    for wanted in sys.argv[1:] or SCENARIOS:
        asyncio.run(record(wanted))
