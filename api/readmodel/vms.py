"""VMs: with the groups that they are in, and how they are doing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Select, case, exists, literal, select

from api.readmodel.definitions import DefinitionFilter, matching
from api.readmodel.reader import Page, Reader, consistent, shaped
from api.responses.definitions import GroupOfVm, GroupVms, SizedDisk, UngroupedVms, VmList, VmResponse
from schemas import tables as t
from schemas.definitions import Disk

_LARGE = (t.vms.c.labels, t.vms.c.tags, t.vms.c.disks, t.vms.c.worker_labels)
VCENTER = "vcenter_host"  # the label


@consistent
async def vms(reader: Reader, wanted: DefinitionFilter, sort: str | None, page: Page) -> VmList:
    """Return a page of VMs."""
    rows, total = await reader.page(matching(t.vms, select(t.vms), wanted, sort), page, _LARGE)
    return VmList(vm_contexts=await _shaped(reader, rows), total=total)


@consistent
async def vm(reader: Reader, context_id: str) -> VmResponse | None:
    """Return a VM, None when there is none."""
    found = await _shaped(reader, await reader.mappings(select(t.vms).where(t.vms.c.id == context_id)))
    return found[0] if found else None


@consistent
async def of_group(reader: Reader, group_id: str, page: Page) -> GroupVms | None:
    """Return a page of a group's VMs, in its order; None when there is no such group."""
    m = t.machine_group_members
    if not await reader.rows(select(t.machine_groups.c.id).where(t.machine_groups.c.id == group_id)):
        return None
    found = select(t.vms).join(m, m.c.context_id == t.vms.c.id).where(m.c.group_id == group_id)
    rows, count = await reader.page(found.order_by(m.c.position), page, _LARGE)
    return GroupVms(members=await _shaped(reader, rows), count=count)


@consistent
async def ungrouped(reader: Reader, page: Page) -> UngroupedVms:
    """Return a page of the VMs that are in no group."""
    grouped = exists().where(t.machine_group_members.c.context_id == t.vms.c.id)
    found: Select[Any] = matching(t.vms, select(t.vms).where(~grouped), DefinitionFilter(), None)
    rows, count = await reader.page(found, page, _LARGE)
    return UngroupedVms(vms=await _shaped(reader, rows), count=count)


async def disks(reader: Reader, context_id: str) -> list[Disk] | None:
    """Return a VM's disks, None when there is no such VM."""
    row = await reader.row(select(t.vms.c.disks).where(t.vms.c.id == context_id))
    return None if row is None else msgspec.convert(row["disks"], list[Disk])


async def _shaped(reader: Reader, rows: Sequence[Mapping[str, Any]]) -> list[VmResponse]:
    ids = [row["id"] for row in rows]
    grouped, states = await groups(reader, ids), await _states(reader, ids)
    return [
        shaped(
            VmResponse,
            {
                **row,
                "context_id": row["id"],
                "vm_name": row["name"],
                "disks": [SizedDisk(**{**disk, "size_gb": disk["size_gb"] or 0.0}) for disk in row["disks"]],
                "groups": grouped[row["id"]],
                "vcenter_host": row["labels"].get(VCENTER, ""),
                "current_status": states[row["id"]],
            },
        )
        for row in rows
    ]


async def groups(reader: Reader, ids: Sequence[str]) -> dict[str, list[GroupOfVm]]:
    """Return the groups that each of some VMs is in, by name."""
    m, g = t.machine_group_members, t.machine_groups
    columns = (m.c.context_id, m.c.group_id, g.c.name, m.c.enabled)
    found = select(*columns).join(g, g.c.id == m.c.group_id).where(m.c.context_id.in_(ids))
    of_vms: dict[str, list[GroupOfVm]] = defaultdict(list)
    for row in await reader.rows(found.order_by(g.c.name)):
        group = GroupOfVm(group_id=row.group_id, group_name=row.name, enabled=row.enabled)
        of_vms[row.context_id].append(group)
    return of_vms


async def _states(reader: Reader, ids: Sequence[str]) -> dict[str, str]:
    j = t.backup_jobs
    busy = exists().where(j.c.context_id == t.vms.c.id, j.c.status == "running")
    good = exists().where(j.c.context_id == t.vms.c.id, j.c.status == "success")
    state = case((busy, literal("replicating")), (good, literal("ready_for_failover")), else_=literal("discovered"))
    rows = await reader.rows(select(t.vms.c.id, state.label("state")).where(t.vms.c.id.in_(ids)))
    return {row.id: row.state for row in rows}
