"""Two worlds in one engine that know nothing of each other, `alpha` and `bravo`, and what they share, `common`.

Each id, name and text of a world has its name in it; so whatever one sees of the other can be found in the bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bus.envelope import Stored
from bus.log import Identity as Stream
from schemas import commands as c
from schemas import events as e
from schemas import tokens
from schemas.base import Message
from schemas.definitions import Disk, Freeze, Notification
from schemas.ids import AD_HOC, ENGINE
from services import database
from services.recorder.store import Tables, publish_nothing
from tests.support import BORN, T0, engine_settings, flow, group, policy, repository, schedule, sent, stored, vm
from tests.tokens import token
from tests.workers import spec_of, worker

WORLDS = ("alpha", "bravo")
EVERYTHING = ("alpha", "common", "bravo")
LATER = T0 + timedelta(hours=1)  # when all of it has happened
STREAM = Stream(created="then", last_sequence=1_000_000)

Told = tuple[str, Message, dict[str, Any]]  # whose it is, what it says, and its envelope


def ids(world: str) -> dict[str, list[str]]:
    """Return the ids of a world by what they are of; and names, where something may be asked for by its name."""
    return {
        "flow": [f"{world}-flow", f"{world}-on-vm", f"{world}-gone"],
        "vm": [f"{world}-vm"],
        "vm_name": [f"{world.upper()}-VM"],
        "group": [f"{world}-group"],
        "schedule": [f"{world}-schedule"],
        "repository": [f"{world}-repository"],
        "policy": [f"{world}-policy"],
        "execution": [f"{world}-{x}" for x in ("x", "running", "waiting", "skipped", "adhoc", "gone-x")],
        "backup": [f"{world}-x-{world}-vm", f"{world}-running-common-vm", f"{world}-adhoc-{world}-vm"],
        "backfill": [f"{world}-backfill"],
        "command": [
            f"{world}-{k}" for k in ("create", "execute", "backup", "refused", "cancel", "rename", "backfilled")
        ],
        "token": [f"{world}-token"],
        "worker": [f"{world}-worker"],
        "notification": [f"{world}-notification"],
        "actor": [f"{world}-user", f"{world}-admin"],
    }


def forbidden(world: str) -> bytes:
    """Return what is in all that is a world's."""
    return world.encode()


def entries(worlds: Collection[str] = EVERYTHING) -> list[Stored]:
    """Return the log of some of the worlds, each message where it is on the log of all of them."""
    found: list[Stored] = []
    for number, (world, message, context) in enumerate(_log(), start=1):
        if world in worlds:
            at = T0 + timedelta(seconds=number)
            found.append(stored(sent(message, time=at, **{"id": f"{world}-m{number}", **context}), number))
    return found


async def recorded(file: Path, worlds: Collection[str] = EVERYTHING) -> str:
    """Write worlds into the empty tables of a file, and return the URL."""
    url = database.sqlite_url(file)
    tables = Tables(url)
    await tables.apply(entries(worlds), STREAM, publish_nothing)
    await tables.close()
    return url


def _log() -> Iterator[Told]:
    common = [vm("common-vm"), vm("common-lonely"), repository("common-repository"), policy("common-policy")]
    yield from (("common", one, {}) for one in common)
    yield "common", schedule("common-schedule", cron_expression="*/10 * * * *"), {}
    yield "common", engine_settings(max_concurrent_jobs=50), {}
    freeze = Freeze(since=T0, until=LATER + timedelta(days=300), reason="common", created_by="common-admin")
    yield "common", e.FreezeDefined(id=ENGINE, version=1, definition=freeze), {}
    yield "common", c.UpdateSchedule(id="common-schedule", patch=c.SchedulePatch(description="x")), {"id": "common-c"}
    for world in WORLDS:
        yield from ((world, message, context) for message, context in _world(world))
    yield "common", engine_settings(max_concurrent_jobs=60, version=2), {}


def _world(w: str) -> Iterator[tuple[Message, dict[str, Any]]]:
    """Yield a world: definitions, what became of its flows, and what was asked for."""
    disks = [Disk(disk_id="d", path=f"/disks/{w}.raw")]
    for id_ in (f"{w}-vm", f"{w}-vm-2"):
        yield vm(id_, disks=disks, labels={"vcenter_host": w, "site": w}, tags=[w], created_by=f"{w}-admin"), {}
    yield schedule(f"{w}-schedule", created_by=f"{w}-admin"), {}
    yield repository(f"{w}-repository", location=f"/backups/{w}", max_concurrent_jobs=7, config={"folder": w}), {}
    yield policy(f"{w}-policy", keep_last=3), {}
    members = [f"{w}-vm", f"{w}-vm-2", "common-vm"]
    yield group(f"{w}-group", members, schedule_id="common-schedule", created_by=f"{w}-admin"), {}
    # --- flows
    asked: dict[str, Any] = {"id": f"{w}-create", "actor": f"{w}-admin"}
    shared = {"repository_id": "common-repository", "policy_id": "common-policy", "schedule_id": "common-schedule"}
    own = {"repository_id": f"{w}-repository", "policy_id": f"{w}-policy", "schedule_id": f"{w}-schedule"}
    on_group = {"target_id": f"{w}-group", **shared, "labels": {"of": w}, "created_by": f"{w}-admin"}
    made = flow(f"{w}-flow", **on_group, description=w)
    yield c.CreateFlow(id=f"{w}-flow", spec=_spec(made)), asked
    yield made, {"causationid": f"{w}-create", "actor": f"{w}-admin"}
    yield flow(f"{w}-on-vm", target_type="vm", target_id=f"{w}-vm", **own), {}
    yield flow(f"{w}-idle", target_type="vm", target_id=f"{w}-vm-2", **own), {}
    yield from _executions(w)
    yield from _commands(w)
    made_by = {"id": f"{w}-token-c", "actor": f"{w}-admin"}
    defined = token(f"{w}-token", tokens.secret(w[0] * 43), groups=[f"{w}-group"], created_by=f"{w}-admin")
    spec = c.TokenSpec(name=f"{w}-token", role="viewer", groups=[f"{w}-group"], digest=defined.definition.digest)
    yield c.CreateToken(id=f"{w}-token", spec=spec), made_by
    yield defined, {"causationid": f"{w}-token-c", "actor": f"{w}-admin"}
    enrolled_by = {"id": f"{w}-worker-c", "actor": f"{w}-admin"}
    enrolled = worker(f"{w}-worker", labels={"site": w}, created_by=f"{w}-admin", enrolled_at=T0)
    assert enrolled.definition
    yield c.CreateWorker(id=f"{w}-worker", spec=spec_of(enrolled.definition)), enrolled_by
    yield enrolled, {"causationid": f"{w}-worker-c", "actor": f"{w}-admin"}
    url, born = f"https://{w}.example/hook", {**BORN, "created_by": f"{w}-admin"}
    told = Notification(id=f"{w}-notification", name=f"{w}-notification", flows=[f"{w}-flow"], url=url, **born)
    yield e.NotificationDefined(id=f"{w}-notification", version=1, definition=told), {}
    # --- a flow that is no more
    yield flow(f"{w}-gone", target_id=f"{w}-group", **shared), {}
    yield from _execution(w, f"{w}-gone", f"{w}-gone-x", [f"{w}-vm"])
    yield e.FlowDefined(id=f"{w}-gone", version=2, definition=None), {}


def _executions(w: str) -> Iterator[tuple[Message, dict[str, Any]]]:
    name = f"{w}-flow"
    at = [T0 - timedelta(minutes=10 * number) for number in range(8)]
    yield e.FlowDue(flow_id=name, occurrence=at[0], schedule_id="common-schedule"), {"correlationid": f"{w}-x"}
    yield from _execution(w, name, f"{w}-x", [f"{w}-vm", "common-vm"], occurrence=at[0], fails="common-vm")
    missed = e.FlowMissed(flow_id=name, schedule_id="common-schedule", first=at[7], last=at[6], count=2)
    yield missed, {}
    skip = {"execution_type": "scheduled", "reason": "overlap", "message": f"{w} is busy"}
    about = {"flow_id": name, "execution_id": f"{w}-skipped"}
    yield e.FlowSkipped(**about, occurrence=at[1], **skip), {"correlationid": f"{w}-skipped"}
    # --- a backfill with one execution
    filling = e.FlowBackfilling(flow_id=name, backfill_id=f"{w}-backfill", occurrences=[at[5]], max_concurrent=1)
    asked = {"id": f"{w}-backfilled", "actor": f"{w}-user", "correlationid": f"{w}-backfill"}
    yield c.CreateBackfill(id=f"{w}-backfill", flow_id=name, occurrences=[at[5]]), asked
    yield filling, {"correlationid": f"{w}-backfill", "causationid": f"{w}-backfilled"}
    yield from _execution(w, name, f"{w}-filled", [f"{w}-vm-2"], occurrence=at[5], backfill_id=f"{w}-backfill")
    # --- outside any flow
    backup = c.BackupVm(id=f"{w}-adhoc-c", context_id=f"{w}-vm", repository_id=f"{w}-repository")
    yield backup, {"id": f"{w}-backup", "actor": f"{w}-admin", "correlationid": f"{w}-backup"}
    yield from _execution(w, AD_HOC, f"{w}-adhoc", [f"{w}-vm"], cause=f"{w}-backup")
    # --- one that runs, with backups in each state, and one that waits for it
    order = c.ExecuteFlow(id=name)
    yield order, {"id": f"{w}-execute", "actor": f"{w}-admin", "correlationid": f"{w}-running"}
    vms = [f"{w}-vm", f"{w}-vm-2", "common-vm"] if w == "alpha" else [f"{w}-vm-2", "common-vm", f"{w}-vm"]
    yield from _begin(w, name, f"{w}-running", vms, limit=2, cause=f"{w}-execute")
    for id_ in vms[:2]:
        yield _request(w, name, f"{w}-running", id_)
    yield e.BackupStarted(**_about(name, f"{w}-running", vms[0]), attempt=1, worker=f"{w}-worker"), _in(f"{w}-running")
    progress = {"percent": 40, "bytes_read": 400, "bytes_transferred": 40}
    yield e.BackupProgressed(**_about(name, f"{w}-running", vms[0]), attempt=1, **progress), _in(f"{w}-running")
    waits = {"flow_id": name, "execution_id": f"{w}-waiting", "flow_name": name, "execution_type": "manual"}
    waits |= {"triggered_by": f"{w}-user", "occurrence": None, "overlap_policy": "buffer_one", "priority": 0}
    yield e.FlowBuffered(**waits, waiting_for=[f"{w}-running"]), _in(f"{w}-waiting")


def _commands(w: str) -> Iterator[tuple[Message, dict[str, Any]]]:
    """Yield more of what was asked for: of these, the refusal tells of a world in a text about what is shared."""
    cancel = c.CancelExecution(id=f"{w}-running", context_id=f"{w}-vm-2")
    yield cancel, {"id": f"{w}-cancel", "actor": f"{w}-user", "correlationid": f"{w}-running"}
    rename = c.UpdateVm(id=f"{w}-vm-2", patch=c.VmPatch(tags=[w, "new"]))
    yield rename, {"id": f"{w}-rename", "actor": f"{w}-admin"}
    yield vm(f"{w}-vm-2", version=2, tags=[w, "new"]), {"causationid": f"{w}-rename", "actor": f"{w}-admin"}
    yield c.DeleteVm(id="common-vm"), {"id": f"{w}-refused", "actor": f"{w}-admin"}
    reason = f"vm 'COMMON-VM' is in use by group '{w}-group'"
    rejected = e.Rejected(entity="vm", verb="delete", id="common-vm", code="in_use", reason=reason)
    yield rejected, {"causationid": f"{w}-refused"}


def _spec(defined: e.FlowDefined) -> Any:
    made = defined.definition
    assert made is not None
    return c.FlowSpec(**{name: getattr(made, name) for name in c.FlowSpec.__struct_fields__})


def _in(execution_id: str) -> dict[str, Any]:
    return {"correlationid": execution_id}


def _about(flow_id: str, execution_id: str, context_id: str) -> dict[str, str]:
    backup_id = f"{execution_id}-{context_id}"
    return {"flow_id": flow_id, "execution_id": execution_id, "backup_id": backup_id, "context_id": context_id}


def _request(w: str, flow_id: str, execution_id: str, context_id: str) -> tuple[Message, dict[str, Any]]:
    said = {"vm_name": context_id.upper(), "disks": [], "repository_id": "common-repository", "engine": "simulated"}
    said |= {"location": f"/backups/{w}", "config": {}, "backup_type": "auto", "retry_attempts": 0}
    said |= {"retry_delay_seconds": 1, "timeout_seconds": None, "requested_at": T0}
    return e.BackupRequested(**_about(flow_id, execution_id, context_id), **said), _in(execution_id)


def _begin(
    w: str,
    flow_id: str,
    execution_id: str,
    vms: list[str],
    *,
    limit: int | None = None,
    cause: str | None = None,
    occurrence: datetime | None = None,
    backfill_id: str | None = None,
) -> Iterator[tuple[Message, dict[str, Any]]]:
    within = {"flow_id": flow_id, "execution_id": execution_id}
    terms = {"flow_name": flow_id, "flow_version": 1, "execution_type": "manual" if occurrence is None else "scheduled"}
    terms |= {"triggered_by": f"{w}-user", "overlap_policy": "allow", "repository_id": "common-repository"}
    terms |= {"occurrence": occurrence, "policy_id": None, "priority": 0, "max_concurrent_jobs": limit}
    terms |= {"jobs": len(vms), "parts": 1, "backfill_id": backfill_id}
    yield e.FlowStarted(**within, **terms), {**_in(execution_id), "causationid": cause}
    backups = [e.PlannedBackup(backup_id=f"{execution_id}-{id_}", context_id=id_, vm_name=id_.upper()) for id_ in vms]
    excluded = [e.ExcludedVm(context_id=f"{w}-vm-2", reason=f"{w} says so")]
    yield e.FlowPlanned(**within, part=1, parts=1, backups=backups, excluded=excluded), _in(execution_id)


def _execution(
    w: str, flow_id: str, execution_id: str, vms: list[str], *, fails: str | None = None, **terms: Any
) -> Iterator[tuple[Message, dict[str, Any]]]:
    """Yield an execution from its beginning to its end; one backup may fail."""
    yield from _begin(w, flow_id, execution_id, vms, **terms)
    for id_ in vms:
        about = _about(flow_id, execution_id, id_)
        yield _request(w, flow_id, execution_id, id_)
        yield e.BackupStarted(**about, attempt=1, worker=f"{w}-worker"), _in(execution_id)
        done = {"bytes_read": 1000, "bytes_transferred": 100, "snapshot_ref": f"{w}-snapshot"}
        # what one world has failed at, the other has done: neither is to hear of it
        if id_ == fails and w == "alpha":
            yield e.BackupFailed(**about, attempt=1, error=f"{w} is broken"), _in(execution_id)
        else:
            yield e.BackupCompleted(**about, attempt=1, **done), _in(execution_id)
    failed = int(fails is not None and w == "alpha")
    ended = {"flow_id": flow_id, "execution_id": execution_id, "status": "warning" if failed else "success"}
    ended |= {"started_at": T0, "completed_at": T0 + timedelta(seconds=9), "jobs_created": len(vms)}
    ended |= {"jobs_completed": len(vms) - failed, "jobs_failed": failed, "jobs_skipped": 0, "bytes_transferred": 100}
    yield e.FlowCompleted(**ended, error_message=f"{w} is broken" if failed else None), _in(execution_id)
