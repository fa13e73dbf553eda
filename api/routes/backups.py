"""Routes of backups over all executions, backups outside any flow, and the queue."""

from __future__ import annotations

from collections.abc import Sequence

from litestar import Response, Router, get, post
from litestar.params import FromQuery, JSONBody

from api.context import Context
from api.problems import ApiError, not_found
from api.readmodel import backups, definitions, queue
from api.readmodel.backups import BackupFilter
from api.requests import BackupRequest
from api.responses.backups import BackupList, BackupResponse, BackupStats, Queue, StartedBackup
from api.routes.parameters import READ, WRITE, Limit, Offset, PathId, page
from api.routes.starting import accepted, started
from api.validation import FieldError
from bus.errors import LogError
from bus.log import Log
from bus.stream import WORKER_QUEUE
from schemas import commands as c
from schemas import tables as t
from schemas.definitions import Policy, Repository
from schemas.events import BackupStatus
from schemas.ids import AD_HOC
from services.worker.status import PREFIX, WorkerStatus, live


@get("/", responses=READ)
async def list_backups(
    context: Context,
    limit: Limit = 50,
    offset: Offset = 0,
    context_id: FromQuery[str | None] = None,
    vm_name: FromQuery[str | None] = None,
    repository_id: FromQuery[str | None] = None,
    status: FromQuery[BackupStatus | None] = None,
) -> BackupList:
    """List backups, newest first."""
    wanted = BackupFilter(context_id=context_id, vm_name=vm_name, repository_id=repository_id, status=status)
    return await backups.find(context.reader, wanted, page(limit, offset))


@get("/stats", responses=READ)
async def stats(
    context: Context, vm_name: FromQuery[str | None] = None, repository_id: FromQuery[str | None] = None
) -> BackupStats:
    """Count the successful backups of a VM or in a repository, or all."""
    return await backups.stats(context.reader, BackupFilter(vm_name=vm_name, repository_id=repository_id))


@get("/{backup_id:str}", responses=READ)
async def get_backup(context: Context, backup_id: PathId) -> BackupResponse:
    """Return one backup."""
    found = await backups.one(context.reader, backup_id)
    if found is None:
        raise not_found("backup", backup_id)
    return found


@post("/", status_code=202, responses=WRITE)
async def back_up(context: Context, data: JSONBody[BackupRequest]) -> Response[StartedBackup]:
    """Back up one VM at once, outside any flow, with the same engine and on the same log.

    `context_id` is the VM's id, or its name where no other VM has it.
    """
    reader = context.reader
    repeated = await context.repeats()
    earlier = await context.earlier() if repeated else None
    found = await definitions.vm_ids(reader, data.context_id)
    if not repeated:
        if not found:
            raise _unknown("context_id", "vm", data.context_id)
        if len(found) > 1:
            raise _ambiguous("context_id", "VMs", data.context_id, found)
        if await definitions.one(reader, t.repositories, Repository, data.repository_id) is None:
            raise _unknown("repository_id", "repository", data.repository_id)
        if data.policy_id and await definitions.one(reader, t.policies, Policy, data.policy_id) is None:
            raise _unknown("policy_id", "policy", data.policy_id)
    command = c.BackupVm(
        id=context.new_id("backup"),
        context_id=_same(data.context_id, found, earlier),
        repository_id=data.repository_id,
        policy_id=data.policy_id,
    )
    execution = await started(context, command, AD_HOC)
    backup_id = next(iter(execution.created_job_ids), None)
    backup = await backups.one(reader, backup_id) if backup_id else None
    values = {field: getattr(execution, field) for field in execution.__struct_fields__}
    return accepted(StartedBackup(**values, backup_id=backup_id, backup=backup))


def _same(wanted: str, found: Sequence[str], earlier: c.Command | None) -> str:
    """Return which VM is backed up: by a request that comes again, the one that the first was about, by any name."""
    if isinstance(earlier, c.BackupVm) and (earlier.context_id in found or not found):
        return earlier.context_id
    return found[0] if found else wanted


@get("/queue", responses=READ, tags=["Backups"])
async def get_queue(context: Context) -> Queue:
    """Return what waits, and for what, and what runs."""
    return await queue.current(context.reader, await workers_beside(context.log))


async def workers_beside(log: Log) -> list[WorkerStatus] | None:
    """Return the workers that are there, None when the log does not respond."""
    try:
        statuses, now = await log.statuses(PREFIX), await log.time()
    except LogError:
        return None
    return [one for one in live(statuses, now=now, lease=WORKER_QUEUE.ack_wait) if one.slots]


def _ambiguous(field: str, what: str, name: str, ids: Sequence[str]) -> ApiError:
    message = f"{len(ids)} {what} are called {name!r}: use the id of one, such as {ids[0]!r}"
    return ApiError(422, message, errors=[FieldError(field=field, message=message)])


def _unknown(field: str, what: str, id_: str) -> ApiError:
    message = f"there is no {what} {id_!r}"
    return ApiError(422, message, errors=[FieldError(field=field, message=message)])


ROUTER = Router(path="/backups", route_handlers=[list_backups, stats, get_backup, back_up], tags=["Backups"])
