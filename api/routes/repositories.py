"""Routes of repositories: where backups go."""

from __future__ import annotations

from litestar import get

from api.answers import RepositoryList
from api.desk import AtDesk
from api.inputs import RepositoryInput, RepositoryPatchInput
from api.readmodel import definitions
from api.readmodel.definitions import SORTS, DefinitionFilter
from api.readmodel.reading import Reading
from api.routes.crud import Resource, router
from api.routes.parameters import READ, Enabled, Limit, Offset, Q, Sort, bad_sort, page
from schemas import commands as c
from schemas import tables as t
from schemas.definitions import Repository


async def _read(reading: Reading, id_: str) -> Repository | None:
    return await definitions.one(reading, t.repositories, Repository, id_)


REPOSITORY = Resource(
    kind="repository",
    path="/repositories",
    tag="Repositories",
    input=RepositoryInput,
    patch=RepositoryPatchInput,
    answer=Repository,
    create=c.CreateRepository,
    update=c.UpdateRepository,
    delete=c.DeleteRepository,
    enable=c.EnableRepository,
    disable=c.DisableRepository,
    read=_read,
)


@get("/", responses=READ)
async def list_repositories(
    desk: AtDesk, limit: Limit = 50, offset: Offset = 0, enabled: Enabled = None, q: Q = None, sort: Sort = None
) -> RepositoryList:
    """List repositories, newest first."""
    wanted = DefinitionFilter(enabled=enabled, q=q)
    try:
        found, total = await definitions.find(
            desk.reading, t.repositories, Repository, wanted, sort, page(limit, offset)
        )
    except KeyError:
        raise bad_sort(sort, SORTS) from None
    return RepositoryList(repositories=found, total=total)


ROUTER = router(REPOSITORY, [list_repositories])
