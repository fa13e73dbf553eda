"""Routes of backups over all executions, backups outside any flow, and the queue."""

from __future__ import annotations

from litestar import Response, Router, get, post
from litestar.params import FromQuery, JSONBody

from api.answers import BackupAnswer, BackupList, BackupStats, Queue, StartedExecution
from api.desk import AtDesk
from api.inputs import BackupInput
from api.parts import AtParts
from api.problems import ApiError, FieldError, not_found
from api.readmodel import backups, definitions
from api.readmodel.backups import BackupFilter
from api.routes.flows import started
from api.routes.parameters import READ, WRITE, Limit, Offset, PathId, page
from schemas import commands as c
from schemas import tables as t
from schemas.definitions import Policy, Repository
from schemas.events import BackupStatus
from schemas.ids import AD_HOC


@get("/", responses=READ)
async def list_backups(
    desk: AtDesk,
    limit: Limit = 50,
    offset: Offset = 0,
    context_id: FromQuery[str | None] = None,
    vm_name: FromQuery[str | None] = None,
    repository_id: FromQuery[str | None] = None,
    status: FromQuery[BackupStatus | None] = None,
) -> BackupList:
    """List backups, newest first."""
    wanted = BackupFilter(context_id=context_id, vm_name=vm_name, repository_id=repository_id, status=status)
    return await backups.find(desk.reading, wanted, page(limit, offset))


@get("/stats", responses=READ)
async def stats(
    desk: AtDesk, vm_name: FromQuery[str | None] = None, repository_id: FromQuery[str | None] = None
) -> BackupStats:
    """Count the successful backups of a VM or in a repository, or all."""
    return await backups.stats(desk.reading, BackupFilter(vm_name=vm_name, repository_id=repository_id))


@get("/{backup_id:str}", responses=READ)
async def get_backup(desk: AtDesk, backup_id: PathId) -> BackupAnswer:
    """Return one backup."""
    found = await backups.one(desk.reading, backup_id)
    if found is None:
        raise not_found("backup", backup_id)
    return found


@post("/", status_code=202, responses=WRITE)
async def back_up(desk: AtDesk, data: JSONBody[BackupInput]) -> Response[StartedExecution]:
    """Back up one VM at once, outside any flow, with the same engine and on the same log."""
    reading = desk.reading
    data = await desk.strict(data)
    if not await desk.repeats():
        if await definitions.vm(reading, data.context_id) is None:
            raise _unknown("context_id", "vm", data.context_id)
        if await definitions.one(reading, t.repositories, Repository, data.repository_id) is None:
            raise _unknown("repository_id", "repository", data.repository_id)
        if data.policy_id and await definitions.one(reading, t.policies, Policy, data.policy_id) is None:
            raise _unknown("policy_id", "policy", data.policy_id)
    command = c.BackupVm(
        id=desk.new_id("backup"),
        context_id=data.context_id,
        repository_id=data.repository_id,
        policy_id=data.policy_id,
    )
    return await started(desk, command, AD_HOC)


@get("/queue", responses=READ, tags=["Backups"])
async def get_queue(desk: AtDesk, parts: AtParts) -> Queue:
    """Return what waits, and for what, and what runs."""
    return await backups.queue(desk.reading, parts.total_limit)


def _unknown(field: str, what: str, id_: str) -> ApiError:
    message = f"there is no {what} {id_!r}"
    return ApiError(422, message, errors=[FieldError(field=field, message=message)])


ROUTER = Router(path="/backups", route_handlers=[list_backups, stats, get_backup, back_up], tags=["Backups"])
