"""Routes of repositories: where backups go."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta

from litestar import delete, get, post
from litestar.params import JSONBody

from api import inspecting
from api.context import Context, RequestContext
from api.permission import unscoped
from api.problems import invalid, not_found
from api.readmodel import backups, days, growth, inspections, repositories, settings
from api.readmodel import storage as stored
from api.readmodel.definitions import DefinitionFilter
from api.requests import RepositoryPatchRequest, RepositoryRequest, RepositoryTestRequest
from api.responses.repositories import (
    CreatedRepository,
    Done,
    FoundSpace,
    RepositoryList,
    RepositoryResponse,
    RepositoryTest,
    Storage,
    StorageHistory,
    StorageInfo,
)
from api.routes.crud import Created, CrudResource, required, router
from api.routes.parameters import READ, WRITE, Days, Enabled, Limit, Offset, PathId, Q, Sort, Timezone, page, zone_of
from api.validation import FieldError
from schemas import commands as c
from schemas.definitions import Repository
from services import roots
from services.worker.engines import registration

MOST_REFRESHED = 1_000


async def _read(context: Context, repository_id: str) -> RepositoryResponse | None:
    found = await repositories.one(context.reader, repository_id)
    return None if found is None else await _with_storage(context, *found)


async def _with_storage(context: Context, repository: Repository, backup_count: int) -> RepositoryResponse:
    """Return a repository with the space of its folder, as this machine sees it, and as those without a scope may."""
    space = None
    if registration.on_disk(repository.type) and not context.scoped:
        space = await context.files.space(repository.location, context.now)
    total, available = (space.total, space.available) if space else (None, None)
    used = None if total is None or available is None else total - available
    info = StorageInfo(
        total_bytes=total,
        used_bytes=used,
        available_bytes=available,
        used_percent=round(100 * used / total, 1) if used is not None and total else None,
        backup_count=backup_count,
        last_check_at=space.at if space else None,
    )
    fields = {name: getattr(repository, name) for name in Repository.__struct_fields__}
    return RepositoryResponse(**fields, storage_info=info)


async def _created(context: RequestContext, made: RepositoryResponse) -> CreatedRepository:
    """Return a new repository with what workers see of it."""
    seen = await inspecting.inspect(context.log, await inspections.of(context.reader, made))
    fields = {name: getattr(made, name) for name in RepositoryResponse.__struct_fields__}
    return CreatedRepository(**fields, warnings=inspecting.warnings(seen), inspections=seen)


REPOSITORY = CrudResource(
    kind="repository",
    path="/repositories",
    tag="Repositories",
    request=RepositoryRequest,
    patch=RepositoryPatchRequest,
    response=RepositoryResponse,
    created=Created(shape=CreatedRepository, of=_created),
    create=c.CreateRepository,
    update=c.UpdateRepository,
    delete=c.DeleteRepository,
    enable=c.EnableRepository,
    disable=c.DisableRepository,
    read=_read,
)


@get("/", responses=READ, opt={"role": "viewer"})
async def list_repositories(
    context: Context, limit: Limit = 50, offset: Offset = 0, enabled: Enabled = None, q: Q = None, sort: Sort = None
) -> RepositoryList:
    """List repositories, newest first."""
    wanted = DefinitionFilter(enabled=enabled, q=q)
    found, counts, total = await repositories.find(context.reader, wanted, sort, page(limit, offset))
    shown = await asyncio.gather(*(_with_storage(context, one, counts.get(one.id, 0)) for one in found))
    return RepositoryList(repositories=list(shown), total=total)


@get("/{repository_id:str}/storage", responses=READ, opt={"role": "viewer"}, guards=[unscoped])
async def storage(context: Context, repository_id: PathId) -> Storage:
    """Return a repository's space, as far as this machine can see it, and what backups take of it."""
    found = await backups.storage(context.reader, repository_id)
    if found is None:
        raise not_found("repository", repository_id)
    repository, used = found
    space = None
    if registration.on_disk(repository.type):
        space = await context.files.space(repository.location, context.now, fresh=timedelta(0))
    return Storage(
        total_bytes=space.total if space else None,
        free_bytes=space.available if space else None,
        used_by_backups_bytes=used.total_size_bytes,
        backup_count=used.backup_count,
    )


@get("/{repository_id:str}/storage/history", responses=READ, opt={"role": "viewer"}, guards=[unscoped])
async def storage_history(
    context: Context, repository_id: PathId, number: Days = 90, timezone: Timezone = "UTC"
) -> StorageHistory:
    """Return what backups take of a repository, day by day, and when it is full if it goes on like this."""
    zone = zone_of(timezone)
    shown = days.days_before(context.now, number, zone)
    found = await stored.history(context.reader, repository_id, shown, zone)
    if found is None:
        raise not_found("repository", repository_id)
    repository, history, count = found
    space = None
    if registration.on_disk(repository.type):
        space = await context.files.space(repository.location, context.now)
    per_day = growth.per_day(history)
    free = space.available if space else None
    full = growth.full_on(shown[-1], free, per_day)
    return StorageHistory(
        repository_id=repository.id,
        days=history,
        timezone=timezone,
        stored_bytes=history[-1].stored_bytes,
        backup_count=count,
        free_bytes=free,
        total_bytes=space.total if space else None,
        bytes_per_day=per_day,
        full_on=full.isoformat() if full else None,
    )


@delete(
    "/{id:str}",
    status_code=200,
    responses=WRITE,
    operation_id="delete_repository",
    summary="Delete a repository",
    opt={"role": "admin"},
)
async def delete_repository(context: Context, id: PathId) -> Done:  # noqa: A002
    found = await repositories.one(context.reader, id)
    if found is None:
        await required(REPOSITORY, context, id)
    await context.submit(c.DeleteRepository(id=id, if_version=context.if_version))
    return Done(message=f"repository {found[0].name if found else id!r} was deleted; what is in it stays where it is")


@post("/test", status_code=200, responses=WRITE, opt={"role": "admin"}, guards=[unscoped])
async def test_repository(context: Context, data: JSONBody[RepositoryTestRequest]) -> RepositoryTest:
    """Say whether a repository that is not saved could be used, as far as this machine sees it. It writes nothing."""
    on_disk = registration.on_disk(data.type)
    if on_disk and data.location is None:
        raise invalid(422, [FieldError(field="location", message="this field is required")])
    location = data.location or ""
    if wrong := registration.validate(data.type, location, data.config):
        return _unusable(f"{wrong.field}: {wrong.reason}")
    if not on_disk:
        return RepositoryTest(success=True, message=f"the engine {data.type} needs no storage", storage=None)
    allowed = (await settings.current(context.reader)).repository_roots
    if reason := roots.refusal(location, "repository_roots", allowed, context.own):
        return _unusable(reason)
    try:
        found = await context.files.folder(location)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "its file system does not respond"
        return _unusable(f"{location} cannot be used as seen from this machine: {reason}. Create or mount the folder")
    seen = FoundSpace(total_bytes=found.total, available_bytes=found.available, writable=found.writable)
    if not found.writable:
        message = f"{location} is there, and this process may not write to it: change its owner or mode"
        return RepositoryTest(success=False, message=message, storage=seen)
    message = f"{location} is there and writable, with {found.available:,} of {found.total:,} bytes free"
    return RepositoryTest(success=True, message=message, storage=seen)


def _unusable(message: str) -> RepositoryTest:
    return RepositoryTest(success=False, message=message, storage=None)


@post("/refresh-storage", status_code=200, responses=WRITE, opt={"role": "operator"}, guards=[unscoped])
async def refresh_storage(context: Context) -> Done:
    """Look anew at the space of repositories, which is else remembered for a minute."""
    places = await repositories.places(context.reader, MOST_REFRESHED)
    folders = {location for engine, location in places if registration.on_disk(engine)}
    await asyncio.gather(*(context.files.space(one, context.now, fresh=timedelta(0)) for one in folders))
    return Done(message=f"looked at the space of {len(folders)} {'folder' if len(folders) == 1 else 'folders'}")


ROUTER = router(
    REPOSITORY,
    [list_repositories, storage, storage_history, test_repository, refresh_storage],
    delete=delete_repository,
)
