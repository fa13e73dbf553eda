"""Routes of VMs."""

from __future__ import annotations

from litestar import get

from api.answers import DiskList, VmAnswer, VmContext, VmList
from api.desk import AtDesk
from api.inputs import VmInput, VmPatchInput
from api.problems import not_found
from api.readmodel import definitions
from api.readmodel.definitions import DefinitionFilter
from api.routes.crud import Resource, known, router
from api.routes.parameters import READ, Enabled, Label, Limit, Offset, PathId, Q, Sort, page
from schemas import commands as c


def _context_id(desk: AtDesk, data: VmInput) -> str:
    return data.context_id or desk.new_id("vm")


VM = Resource(
    kind="vm",
    path="/vm-contexts",
    tag="VMs",
    input=VmInput,
    patch=VmPatchInput,
    answer=VmAnswer,
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
    desk: AtDesk,
    limit: Limit = 50,
    offset: Offset = 0,
    enabled: Enabled = None,
    q: Q = None,
    sort: Sort = None,
    label: Label = None,
) -> VmList:
    """List VMs, newest first."""
    wanted = DefinitionFilter(enabled=enabled, q=q, label=label)
    return await definitions.vms(desk.reading, wanted, sort, page(limit, offset))


@get("/by-id/{context_id:str}", responses=READ)
async def vm_by_id(desk: AtDesk, context_id: PathId) -> VmContext:
    """Return one VM, as existing clients ask for it."""
    return VmContext(context=await known(VM, desk, context_id))


@get("/{context_id:str}/disks", responses=READ)
async def vm_disks(desk: AtDesk, context_id: PathId) -> DiskList:
    """Return a VM's disks."""
    disks = await definitions.disks(desk.reading, context_id)
    if disks is None:
        raise not_found("vm", context_id)
    return DiskList(disks=disks)


ROUTER = router(VM, [list_vms, vm_by_id, vm_disks])
