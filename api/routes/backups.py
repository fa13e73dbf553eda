"""Routes of backups over all executions, backups outside any flow, and the queue."""

from __future__ import annotations

from litestar import Response, Router, get, post
from litestar.params import FromQuery, JSONBody

from api import workers
from api.context import Context
from api.naming import referring
from api.problems import invalid, not_found, unknown
from api.readmodel import backups, names, queue
from api.readmodel.backups import BackupFilter
from api.requests import BackupRequest
from api.responses.backups import BackupList, BackupResponse, BackupStats, ListedStatus, Queue, StartedBackup
from api.routes.parameters import READ, WRITE, Limit, Offset, PathId, Since, Until, moment, page
from api.routes.starting import accepted, started
from api.validation import FieldError
from schemas import commands as c
from schemas.definitions import Kind
from schemas.events import BackupStatus
from schemas.ids import AD_HOC

REFERENCES: dict[str, Kind] = {"context_id": "vm", "repository_id": "repository", "policy_id": "policy"}


@get("/", responses=READ, opt={"role": "viewer"})
async def list_backups(
    context: Context,
    limit: Limit = 50,
    offset: Offset = 0,
    context_id: FromQuery[str | None] = None,
    vm_name: FromQuery[str | None] = None,
    repository_id: FromQuery[str | None] = None,
    flow_id: FromQuery[str | None] = None,
    status: FromQuery[BackupStatus | ListedStatus | None] = None,
    since: Since = None,
    until: Until = None,
) -> BackupList:
    """List backups, newest first.

    `status` is in the words of existing clients, `completed`, `failed` or `running` (what waits, too); `result` says it
    exactly. Both kinds of words can be asked for.
    """
    wanted = BackupFilter(
        context_id=context_id,
        vm_name=vm_name,
        repository_id=repository_id,
        flow_id=flow_id,
        status=status,
        since=moment("from", since),
        until=moment("to", until),
    )
    return await backups.find(context.reader, wanted, page(limit, offset))


@get("/stats", responses=READ, opt={"role": "viewer"})
async def stats(
    context: Context, vm_name: FromQuery[str | None] = None, repository_id: FromQuery[str | None] = None
) -> BackupStats:
    """Count the successful backups of a VM or in a repository, or all."""
    return await backups.stats(context.reader, BackupFilter(vm_name=vm_name, repository_id=repository_id))


@get("/{backup_id:str}", responses=READ, opt={"role": "viewer"})
async def get_backup(context: Context, backup_id: PathId) -> BackupResponse:
    """Return one backup."""
    found = await backups.one(context.reader, backup_id)
    if found is None:
        raise not_found("backup", backup_id)
    return found


@post("/", status_code=202, responses=WRITE, opt={"role": "operator"})
async def back_up(context: Context, data: JSONBody[BackupRequest]) -> Response[StartedBackup]:
    """Back up one VM at once, outside any flow, with the same engine and on the same log."""
    data = await referring(context, data, REFERENCES)
    if not await context.repeats():
        await _check_known(context, data)
    command = c.BackupVm(
        id=context.new_id("backup"),
        context_id=data.context_id,
        repository_id=data.repository_id,
        policy_id=data.policy_id,
    )
    execution = await started(context, command, AD_HOC)
    backup_id = next(iter(execution.created_job_ids), None)
    backup = await backups.one(context.reader, backup_id) if backup_id else None
    values = {field: getattr(execution, field) for field in execution.__struct_fields__}
    return accepted(StartedBackup(**values, backup_id=backup_id, backup=backup))


@get("/queue", responses=READ, tags=["Backups"], opt={"role": "viewer"})
async def get_queue(context: Context) -> Queue:
    """Return what waits, and for what, and what runs."""
    return await queue.current(context.reader, await workers.living(context.log))


async def _check_known(context: Context, data: BackupRequest) -> None:
    """Raise 422 that names every field which refers to nothing."""
    wrong: list[FieldError] = []
    for field, kind in REFERENCES.items():
        id_ = getattr(data, field)
        if id_ is not None and id_ not in await names.existing(context.reader, kind, [id_]):
            wrong.append(FieldError(field=field, message=unknown(kind, id_)))
    if wrong:
        raise invalid(422, wrong)


ROUTER = Router(path="/backups", route_handlers=[list_backups, stats, get_backup, back_up], tags=["Backups"])
