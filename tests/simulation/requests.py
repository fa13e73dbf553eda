"""What people ask for, as commands. Some are about what is on the log just then: the newest execution, say."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TypeVar

from bus.envelope import Entry, Stored
from schemas import commands as c
from schemas import events as e
from schemas.definitions import FlowPatch, FlowSpec, OverlapPolicy, SchedulePatch, SettingsPatch
from schemas.ids import derived
from tests.simulation.scenario import Request, every

T = TypeVar("T")


def command_of(request: Request, entries: list[Entry], now: datetime) -> c.Command | None:
    """Return the command, None when there is nothing to ask for."""
    id_, argument = request.target, request.argument
    match request.verb:
        case "execute":
            return c.ExecuteFlow(id=id_)
        case "cancel" | "cancel_vm":
            running = _running(entries, id_)
            if running is None:
                return None
            vms = _planned(entries, running) if request.verb == "cancel_vm" else []
            return c.CancelExecution(id=running, context_id=vms[0] if vms else None)
        case "retry":
            over = _completed(entries, id_)
            if over is None or not (vms := _planned(entries, over)):
                return None
            return c.RetryExecution(id=over, flow_id=id_, context_ids=vms)
        case "backfill":
            hour = now.replace(minute=0, second=0, microsecond=0)
            occurrences = [hour - timedelta(hours=number + 2) for number in range(int(argument))]
            return c.CreateBackfill(id=derived("backfill", request.id), flow_id=id_, occurrences=occurrences)
        case "backfill_cancel":
            known = _last(entries, e.FlowBackfilling, id_)
            return None if known is None else c.CancelBackfill(id=known.backfill_id, flow_id=id_)
        case "backup":
            return c.BackupVm(id=derived("execution", request.id), context_id=id_, repository_id=argument)
        case _:
            return _change(request, entries, now)


def _change(request: Request, entries: list[Entry], now: datetime) -> c.Command | None:
    """Return the command that changes a definition, None when there is nothing to ask for."""
    id_, argument = request.target, request.argument
    match request.verb:
        case "enable_flow" | "run_missed":
            return c.EnableFlow(id=id_, run_missed=request.verb == "run_missed")
        case "disable_flow":
            return c.DisableFlow(id=id_)
        case "delete_flow":
            return c.DeleteFlow(id=id_)
        case "create_flow":
            like = _last(entries, e.FlowDefined, argument)
            if like is None or like.definition is None:
                return None
            fields = {field: getattr(like.definition, field) for field in FlowSpec.__struct_fields__}
            return c.CreateFlow(id=id_, spec=FlowSpec(**{**fields, "name": id_}))
        case "update_flow":
            overlap: OverlapPolicy = argument  # type: ignore[assignment]
            return c.UpdateFlow(id=id_, patch=FlowPatch(overlap_policy=overlap))
        case "enable_schedule":
            return c.EnableSchedule(id=id_)
        case "disable_schedule":
            return c.DisableSchedule(id=id_)
        case "update_schedule":
            return c.UpdateSchedule(id=id_, patch=SchedulePatch(cron_expression=every(int(argument))))
        case "delete_schedule":
            return c.DeleteSchedule(id=id_, detach=True)
        case "set_freeze":
            return c.SetFreeze(id="engine", until=now + timedelta(seconds=int(argument)), reason="a freeze")
        case "lift_freeze":
            return c.LiftFreeze(id="engine")
        case "limit":
            limit = int(argument) if argument else None
            return c.UpdateSettings(id="engine", patch=SettingsPatch(max_concurrent_jobs=limit))
        case "disable_vm":
            return c.DisableVm(id=id_)
        case "enable_vm":
            return c.EnableVm(id=id_)
        case "disable_repository":
            return c.DisableRepository(id=id_)
        case "enable_repository":
            return c.EnableRepository(id=id_)
        case other:
            raise AssertionError(f"nobody asks for {other}")


def _last(entries: list[Entry], kind: type[T], key: str) -> T | None:
    for entry in reversed(entries):
        if isinstance(entry, Stored) and isinstance(entry.envelope.data, kind) and entry.envelope.subject == key:
            return entry.envelope.data
    return None


def _running(entries: list[Entry], flow_id: str) -> str | None:
    over: set[str] = set()
    for entry in reversed(entries):
        data = entry.envelope.data if isinstance(entry, Stored) else None
        if isinstance(data, e.FlowCompleted):
            over.add(data.execution_id)
        if isinstance(data, e.FlowStarted) and data.flow_id == flow_id and data.execution_id not in over:
            return data.execution_id
    return None


def _completed(entries: list[Entry], flow_id: str) -> str | None:
    found = _last(entries, e.FlowCompleted, flow_id)
    return None if found is None else found.execution_id


def _planned(entries: list[Entry], execution_id: str) -> list[str]:
    """Return the VMs of an execution."""
    return [
        backup.context_id
        for entry in entries
        if isinstance(entry, Stored) and isinstance(entry.envelope.data, e.FlowPlanned)
        if entry.envelope.data.execution_id == execution_id
        for backup in entry.envelope.data.backups
    ]
