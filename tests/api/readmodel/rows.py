"""Tables with what some messages have made of them, and messages about executions of VMs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from msgspec import structs

from api.readmodel.reader import Reader
from bus.log import Identity
from schemas import events as e
from schemas.base import Message
from services import database
from services.recorder.store import Tables, publish_nothing
from tests.api.events import completed, started
from tests.support import sent, stored

Told = tuple[datetime, Message]


@asynccontextmanager
async def reading(url: str, told: Sequence[Told]) -> AsyncIterator[Reader]:
    """Give a reader of the tables that messages, each with its time, have made."""
    await database.prepare(url)
    tables, reader = Tables(url), Reader(database.reader(url))
    entries = [
        stored(sent(one, id=f"m{number}", time=at, correlationid=getattr(one, "execution_id", None)), number)
        for number, (at, one) in enumerate(told, start=1)
    ]
    try:
        await tables.apply(entries, Identity(created="then", last_sequence=10_000), publish_nothing)
        yield reader
    finally:
        await reader._engine.dispose()
        await tables.close()


def execution(
    flow_id: str,
    at: datetime,
    ends: dict[str, str],
    *,
    lasts: timedelta = timedelta(minutes=5),
    status: Any = "success",
    **terms: Any,
) -> list[Told]:
    """Return what an execution says: each VM's backup is `good`, `bad`, `skipped` or has begun and still `runs`."""
    id_ = f"{flow_id}-{at:%m%d%H%M}"
    begun = structs.replace(started(id_, len(ends), at), flow_id=flow_id, flow_name=flow_id, **terms)
    plan = [e.PlannedBackup(backup_id=f"{id_}-{vm}", context_id=vm, vm_name=vm.upper()) for vm in ends]
    within = {"flow_id": flow_id, "execution_id": id_}
    told: list[Told] = [
        (at, begun),
        (at, e.FlowPlanned(**within, part=1, parts=1, backups=plan, excluded=[])),
    ]
    for vm, end in ends.items():
        about = {**within, "backup_id": f"{id_}-{vm}", "context_id": vm}
        if end == "skipped":
            told.append((at, e.BackupSkipped(**about, reason="it was in the way")))
            continue
        told += [(at, _request(about, at)), (at, e.BackupStarted(**about, attempt=1, worker="w"))]
        if end == "good":
            read = {"bytes_read": 1_000, "bytes_transferred": 100, "snapshot_ref": "x"}
            told.append((at + lasts, e.BackupCompleted(**about, attempt=1, **read)))
        elif end == "bad":
            told.append((at + lasts, e.BackupFailed(**about, attempt=1, error=f"{vm} is broken")))
    if "runs" not in ends.values():
        told.append((at + lasts, structs.replace(completed(id_, at + lasts, status), flow_id=flow_id, started_at=at)))
    return told


def _request(about: dict[str, str], at: datetime) -> e.BackupRequested:
    said: dict[str, Any] = {"vm_name": about["context_id"].upper(), "disks": [], "repository_id": "repo-1"}
    said |= {"engine": "simulated", "location": "/backups", "config": {}, "backup_type": "auto", "retry_attempts": 0}
    return e.BackupRequested(**about, **said, retry_delay_seconds=1, timeout_seconds=None, requested_at=at)
