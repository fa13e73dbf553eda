"""Routes of VMs."""

from __future__ import annotations

from collections.abc import Sequence

from litestar import Router, get
from msgspec import structs

from api.context import Context
from api.files import GIGABYTE
from api.permission import unscoped
from api.problems import not_found
from api.readmodel import vms
from api.readmodel.definitions import DefinitionFilter
from api.requests import VmPatchRequest, VmRequest
from api.responses.definitions import DiskList, GroupVms, SizedDisk, UngroupedVms, VmContext, VmList, VmResponse
from api.routes.crud import CrudResource, known, router
from api.routes.parameters import READ, Enabled, Label, Limit, Offset, PathId, Q, Sort, page
from schemas import commands as c


def _context_id(context: Context, data: VmRequest) -> str:
    return data.context_id or context.new_id("vm")


async def _read(context: Context, context_id: str) -> VmResponse | None:
    found = await vms.vm(context.reader, context_id)
    return None if found is None else (await _sized(context, [found]))[0]


async def _sized(context: Context, found: Sequence[VmResponse]) -> list[VmResponse]:
    """Return VMs with the sizes of those disks that the definitions do not say, as this machine sees their files."""
    sizes = await context.files.sizes([disk.path for vm in found for disk in vm.disks if not disk.size_gb])

    def sized(disk: SizedDisk) -> SizedDisk:
        size = sizes.get(disk.path, 0)
        return structs.replace(disk, size_gb=size / GIGABYTE) if size and not disk.size_gb else disk

    return [structs.replace(vm, disks=list(map(sized, vm.disks))) for vm in found]


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
    read=_read,
    new_id=_context_id,
)


@get("/", responses=READ, opt={"role": "viewer"})
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
    found = await vms.vms(context.reader, wanted, sort, page(limit, offset))
    return structs.replace(found, vm_contexts=await _sized(context, found.vm_contexts))


@get("/by-id/{context_id:str}", responses=READ, opt={"role": "viewer"})
async def vm_by_id(context: Context, context_id: PathId) -> VmContext:
    """Return one VM, as existing clients ask for it."""
    return VmContext(context=await known(VM, context, context_id))


@get("/{context_id:str}/disks", responses=READ, opt={"role": "viewer"})
async def vm_disks(context: Context, context_id: PathId) -> DiskList:
    """Return a VM's disks."""
    disks = await vms.disks(context.reader, context_id)
    if disks is None:
        raise not_found("vm", context_id)
    return DiskList(disks=disks)


@get("/{group_id:str}/members", responses=READ, opt={"role": "viewer"})
async def vms_of_group(context: Context, group_id: PathId, limit: Limit = 500, offset: Offset = 0) -> GroupVms:
    """List a group's VMs, in its order, as existing clients ask for them."""
    found = await vms.of_group(context.reader, group_id, page(limit, offset))
    if found is None:
        raise not_found("group", group_id)
    return structs.replace(found, members=await _sized(context, found.members))


@get("/ungrouped-vms", responses=READ, opt={"role": "viewer"}, guards=[unscoped])
async def ungrouped_vms(context: Context, limit: Limit = 500, offset: Offset = 0) -> UngroupedVms:
    """List the VMs that are in no group, newest first."""
    found = await vms.ungrouped(context.reader, page(limit, offset))
    return structs.replace(found, vms=await _sized(context, found.vms))


GROUPS_ROUTER = Router(path="/vm-groups", route_handlers=[vms_of_group], tags=["VMs"])
DISCOVERY_ROUTER = Router(path="/discovery", route_handlers=[ungrouped_vms], tags=["VMs"])
ROUTER = router(VM, [list_vms, vm_by_id, vm_disks])
