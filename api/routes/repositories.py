"""Routes of repositories: where backups go."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import suppress

from litestar import get

from api import inspecting
from api.context import Context, RequestContext
from api.problems import not_found
from api.readmodel import backups, definitions, inspections
from api.readmodel.definitions import DefinitionFilter
from api.readmodel.reader import Reader
from api.requests import RepositoryPatchRequest, RepositoryRequest
from api.responses.backups import Storage
from api.responses.definitions import CreatedRepository, RepositoryList
from api.routes.crud import Created, CrudResource, router
from api.routes.parameters import READ, Enabled, Limit, Offset, PathId, Q, Sort, page
from schemas import commands as c
from schemas import tables as t
from schemas.definitions import Repository
from services.worker.engines.registration import ENGINES


async def _read(reader: Reader, id_: str) -> Repository | None:
    return await definitions.one(reader, t.repositories, Repository, id_)


async def _created(context: RequestContext, made: Repository) -> CreatedRepository:
    """Return a new repository with what workers see of it."""
    seen = await inspecting.inspect(context.log, await inspections.of(context.reader, made))
    fields = {name: getattr(made, name) for name in Repository.__struct_fields__}
    return CreatedRepository(**fields, warnings=inspecting.warnings(seen), inspections=seen)


REPOSITORY = CrudResource(
    kind="repository",
    path="/repositories",
    tag="Repositories",
    request=RepositoryRequest,
    patch=RepositoryPatchRequest,
    response=Repository,
    created=Created(shape=CreatedRepository, of=_created),
    create=c.CreateRepository,
    update=c.UpdateRepository,
    delete=c.DeleteRepository,
    enable=c.EnableRepository,
    disable=c.DisableRepository,
    read=_read,
)


@get("/", responses=READ)
async def list_repositories(
    context: Context, limit: Limit = 50, offset: Offset = 0, enabled: Enabled = None, q: Q = None, sort: Sort = None
) -> RepositoryList:
    """List repositories, newest first."""
    wanted = DefinitionFilter(enabled=enabled, q=q)
    found, total = await definitions.find(context.reader, t.repositories, Repository, wanted, sort, page(limit, offset))
    return RepositoryList(repositories=found, total=total)


@get("/{repository_id:str}/storage", responses=READ)
async def storage(context: Context, repository_id: PathId) -> Storage:
    """Return a repository's space, as far as this machine can see it, and what backups take of it."""
    found = await backups.storage(context.reader, repository_id)
    if found is None:
        raise not_found("repository", repository_id)
    repository, used = found
    space = None
    registered = ENGINES.get(repository.type)
    if registered is not None and registered.rules.on_disk:
        with suppress(OSError):
            space = await asyncio.to_thread(shutil.disk_usage, repository.location)
    return Storage(
        total_bytes=space.total if space else None,
        free_bytes=space.free if space else None,
        used_by_backups_bytes=used.total_size_bytes,
        backup_count=used.backup_count,
    )


ROUTER = router(REPOSITORY, [list_repositories, storage])
