"""The workers that are there: who may serve a flow, and who is missing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from api.responses.workers import EnrolmentResponse, WorkerResponse
from bus.checkpoint import Status
from bus.errors import LogError
from bus.log import Log
from bus.stream import WORKER_QUEUE
from schemas.definitions import Flow
from schemas.labels import Contradiction, canonical, contradiction, together
from services.catalogue import Catalogue
from services.executor.starting import Preview
from services.health import GONE, SILENCE, Instance, assess
from services.worker.status import PREFIX, Seen, WorkerStatus, key_of, live, seen

TOLD = 20  # warnings about single VMs


async def living(log: Log) -> list[WorkerStatus] | None:
    """Return the workers that are there, None when the log does not respond."""
    try:
        statuses, now = await log.statuses(PREFIX), await log.time()
    except LogError:
        return None
    return [one for one in live(statuses, now=now, lease=WORKER_QUEUE.ack_wait) if one.slots]


async def labels(log: Log) -> list[Mapping[str, str]] | None:
    """Return the labels of each worker that is there, None when the log does not respond."""
    found = await living(log)
    return None if found is None else [one.labels for one in found]


def present(statuses: Mapping[str, Status], heartbeats: Mapping[str, Status], now: datetime) -> list[WorkerResponse]:
    """Return each worker that is there, by name, with how it is. Pure.

    `statuses`: what workers have published; `heartbeats`: the services'. One that is to end is there for as long as its
    process gives heartbeats, any other one until it has been silent for as long as a service that is gone.
    """
    instances = assess(heartbeats, now)["worker"].instances
    processes = {key_of(f"{one.heartbeat.host}-{one.heartbeat.pid}"): one for one in instances}
    found = ((one, processes.get(key_of(one.process))) for one in seen(statuses) if now - one.at <= GONE)
    return [_shown(one, process, now) for one, process in found if process is not None or one.status.slots]


def _shown(worker: Seen, process: Instance | None, now: datetime) -> WorkerResponse:
    status = worker.status
    by_silence = "hung" if now - worker.at > SILENCE else "running"
    return WorkerResponse(
        name=worker.name,
        state=(process.state if process else by_silence) if status.slots else "stopping",
        labels=status.labels,
        engines=status.engines,
        slots=status.slots,
        free=status.free,
        holding=len(status.holding),
        version=process.heartbeat.version if process else None,
        last_seen_at=worker.at,
        enrolment=worker.enrolment,
    )


def enrolment(row: Mapping[str, Any], present: Collection[str | None], now: datetime) -> EnrolmentResponse:
    """Return a worker of the tables. `present`: the names by which those that are there are enrolled. Pure."""
    if row["revoked_at"]:
        status = "revoked"
    elif row["enrolled_at"]:
        status = "enrolled"
    else:
        status = "expired" if row["expires_at"] <= now else "waiting"
    shown = {name: row[name] for name in EnrolmentResponse.__struct_fields__ if name in row}
    return EnrolmentResponse(**shown, status=status, present=row["name"] in present)


def lacking(catalogue: Catalogue, flow: Flow, preview: Preview, workers: Sequence[WorkerStatus] | None) -> list[str]:
    """Return which workers a flow lacks to be run now, and which of its VMs none could ever serve.

    `workers`: those that are there; None when that cannot be seen.
    """
    found = list(dict.fromkeys(_lacking(catalogue, flow, preview, workers)))
    more = len(found) - TOLD
    return [*found[:TOLD], f"and {more:,} more of this kind"] if more > 0 else found


def _lacking(
    catalogue: Catalogue, flow: Flow, preview: Preview, workers: Sequence[WorkerStatus] | None
) -> Iterator[str]:
    repository = catalogue.repositories.get(flow.repository_id or "")
    if repository is None:
        return
    for planned in preview.planned:
        vm = catalogue.vms[planned.context_id]
        try:
            required = together(vm.worker_labels, repository.worker_labels)
        except Contradiction as found:
            yield f"VM {vm.vm_name!r} would be skipped: {contradiction(vm.vm_name, repository.name, found)}"
            continue
        if workers is None:
            continue
        labelled = [one for one in workers if one.may_serve(required)]
        which = f" for {canonical(required)}" if required else ""
        if not labelled:
            yield f"there is no worker{which}: what needs one would wait"
        elif not any(one.may_serve(required, repository.type) for one in labelled):
            yield f"no worker{which} has the engine {repository.type!r}: what needs it would wait"
