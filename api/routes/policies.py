"""Routes of policies: how backups are made and kept."""

from __future__ import annotations

from litestar import get

from api.context import Context
from api.readmodel import definitions
from api.readmodel.definitions import DefinitionFilter
from api.requests import PolicyPatchRequest, PolicyRequest
from api.responses.definitions import PolicyList, PolicyResponse
from api.routes.crud import CrudResource, detaching, router
from api.routes.parameters import READ, Enabled, Limit, Offset, Q, Sort, page
from schemas import commands as c


async def _read(context: Context, id_: str) -> PolicyResponse | None:
    return await definitions.policy(context.reader, id_)


POLICY = CrudResource(
    kind="policy",
    path="/policies",
    tag="Policies",
    request=PolicyRequest,
    patch=PolicyPatchRequest,
    response=PolicyResponse,
    create=c.CreatePolicy,
    update=c.UpdatePolicy,
    delete=c.DeletePolicy,
    enable=c.EnablePolicy,
    disable=c.DisablePolicy,
    read=_read,
)


@get("/", responses=READ, opt={"role": "viewer"})
async def list_policies(
    context: Context, limit: Limit = 50, offset: Offset = 0, enabled: Enabled = None, q: Q = None, sort: Sort = None
) -> PolicyList:
    """List policies, newest first."""
    wanted = DefinitionFilter(enabled=enabled, q=q)
    return await definitions.policies(context.reader, wanted, sort, page(limit, offset))


ROUTER = router(POLICY, [list_policies], delete=detaching(POLICY))
