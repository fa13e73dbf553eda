"""Routes of VMs."""

from __future__ import annotations

from litestar import get

from api.context import Context
from api.problems import not_found
from api.readmodel import definitions
from api.readmodel.definitions import DefinitionFilter
from api.requests import VmPatchRequest, VmRequest
from api.responses.definitions import DiskList, VmContext, VmList, VmResponse
from api.routes.crud import CrudResource, known, router
from api.routes.parameters import READ, Enabled, Label, Limit, Offset, PathId, Q, Sort, page
from schemas import commands as c


def _context_id(context: Context, data: VmRequest) -> str:
    return data.context_id or context.new_id("vm")


VM = CrudResource(
    kind="vm",
    path="/vm-contexts",
    tag="VMs",
    request=VmRequest,
    patch=VmPatchRequest,
    response=VmResponse,
    create=c.CreateVm,
    update=c.UpdateVm,
    delete=c.DeleteVm,
    enable=c.EnableVm,
    disable=c.DisableVm,
    read=definitions.vm,
    new_id=_context_id,
)


@get("/", responses=READ)
async def list_vms(
    context: Context,
    limit: Limit = 50,
    offset: Offset = 0,
    enabled: Enabled = None,
    q: Q = None,
    sort: Sort = None,
    label: Label = None,
) -> VmList:
    """List VMs, newest first."""
    wanted = DefinitionFilter(enabled=enabled, q=q, label=label)
    return await definitions.vms(context.reader, wanted, sort, page(limit, offset))


@get("/by-id/{context_id:str}", responses=READ)
async def vm_by_id(context: Context, context_id: PathId) -> VmContext:
    """Return one VM, as existing clients ask for it."""
    return VmContext(context=await known(VM, context, context_id))


@get("/{context_id:str}/disks", responses=READ)
async def vm_disks(context: Context, context_id: PathId) -> DiskList:
    """Return a VM's disks."""
    disks = await definitions.disks(context.reader, context_id)
    if disks is None:
        raise not_found("vm", context_id)
    return DiskList(disks=disks)


ROUTER = router(VM, [list_vms, vm_by_id, vm_disks])
