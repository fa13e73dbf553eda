"""Routes of backups over all executions, backups outside any flow, and the queue."""

from __future__ import annotations

from litestar import Response, Router, get, post
from litestar.params import FromQuery, JSONBody

from api.context import Context
from api.problems import ApiError, not_found
from api.readmodel import backups, definitions, vms
from api.readmodel.backups import BackupFilter
from api.requests import BackupRequest
from api.responses.backups import BackupList, BackupResponse, BackupStats, ListedStatus, Queue
from api.responses.executions import StartedExecution
from api.routes.parameters import READ, WRITE, Limit, Offset, PathId, page
from api.routes.starting import start_execution
from api.validation import FieldError
from schemas import commands as c
from schemas import tables as t
from schemas.definitions import Policy, Repository
from schemas.events import BackupStatus
from schemas.ids import AD_HOC


@get("/", responses=READ)
async def list_backups(
    context: Context,
    limit: Limit = 50,
    offset: Offset = 0,
    context_id: FromQuery[str | None] = None,
    vm_name: FromQuery[str | None] = None,
    repository_id: FromQuery[str | None] = None,
    status: FromQuery[BackupStatus | ListedStatus | None] = None,
) -> BackupList:
    """List backups, newest first.

    `status` is in the words of existing clients, `completed`, `failed` or `running` (what waits, too); `result` says it
    exactly. Both kinds of words can be asked for.
    """
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
async def back_up(context: Context, data: JSONBody[BackupRequest]) -> Response[StartedExecution]:
    """Back up one VM at once, outside any flow, with the same engine and on the same log."""
    reader = context.reader
    if not await context.repeats():
        if await vms.vm(reader, data.context_id) is None:
            raise _unknown("context_id", "vm", data.context_id)
        if await definitions.one(reader, t.repositories, Repository, data.repository_id) is None:
            raise _unknown("repository_id", "repository", data.repository_id)
        if data.policy_id and await definitions.one(reader, t.policies, Policy, data.policy_id) is None:
            raise _unknown("policy_id", "policy", data.policy_id)
    command = c.BackupVm(
        id=context.new_id("backup"),
        context_id=data.context_id,
        repository_id=data.repository_id,
        policy_id=data.policy_id,
    )
    return await start_execution(context, command, AD_HOC)


@get("/queue", responses=READ, tags=["Backups"])
async def get_queue(context: Context) -> Queue:
    """Return what waits, and for what, and what runs."""
    return await backups.queue(context.reader)


def _unknown(field: str, what: str, id_: str) -> ApiError:
    message = f"there is no {what} {id_!r}"
    return ApiError(422, message, errors=[FieldError(field=field, message=message)])


ROUTER = Router(path="/backups", route_handlers=[list_backups, stats, get_backup, back_up], tags=["Backups"])
