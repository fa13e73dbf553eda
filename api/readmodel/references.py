"""A flow with all that it refers to, as a catalogue: what the engine's own decisions need for a dry run."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Select, select

from api.readmodel import flows
from api.readmodel.reader import Reader, consistent, shaped
from schemas import tables as t
from schemas.definitions import Disk, Flow, Group, Member, Policy, Repository, Schedule, Vm
from schemas.events import (
    FlowDefined,
    GroupDefined,
    PolicyDefined,
    RepositoryDefined,
    ScheduleDefined,
    VmDefined,
)
from services.catalogue import Catalogue


@consistent
async def of_flow(reader: Reader, flow_id: str) -> tuple[Catalogue, Flow] | None:
    """Return a flow with all that it refers to, None when there is no such flow."""
    flow = await flows.definition(reader, flow_id)
    if flow is None:
        return None
    catalogue = Catalogue()
    catalogue.evolve(FlowDefined(id=flow.id, version=flow.version, definition=flow))
    for row in await reader.mappings(_where(select(t.repositories), t.repositories.c.id, flow.repository_id)):
        catalogue.evolve(RepositoryDefined(id=row["id"], version=1, definition=shaped(Repository, row)))
    for row in await reader.mappings(_where(select(t.policies), t.policies.c.id, flow.policy_id)):
        catalogue.evolve(PolicyDefined(id=row["id"], version=1, definition=shaped(Policy, row)))
    for row in await reader.mappings(_where(select(t.schedules), t.schedules.c.id, flow.schedule_id)):
        catalogue.evolve(ScheduleDefined(id=row["id"], version=1, definition=shaped(Schedule, row)))
    if flow.target_type == "group":
        await _group(reader, catalogue, flow.target_id)
    else:
        await _vms(reader, catalogue, select(t.vms).where(t.vms.c.id == flow.target_id))
    return catalogue, flow


async def _group(reader: Reader, catalogue: Catalogue, group_id: str) -> None:
    m = t.machine_group_members
    rows = await reader.mappings(select(m).where(m.c.group_id == group_id).order_by(m.c.position))
    members = [shaped(Member, row) for row in rows]
    for row in await reader.mappings(select(t.machine_groups).where(t.machine_groups.c.id == group_id)):
        group = shaped(Group, {**row, "members": members})
        catalogue.evolve(GroupDefined(id=group_id, version=1, definition=group))
    await _vms(reader, catalogue, select(t.vms).join(m, m.c.context_id == t.vms.c.id).where(m.c.group_id == group_id))


async def _vms(reader: Reader, catalogue: Catalogue, statement: Select[Any]) -> None:
    for row in await reader.mappings(statement):
        disks = msgspec.convert(row["disks"], list[Disk])
        vm = shaped(Vm, {**row, "vm_name": row["name"], "disks": disks})
        catalogue.evolve(VmDefined(id=vm.id, version=vm.version, definition=vm))


def _where(statement: Select[Any], column: Any, value: str | None) -> Select[Any]:
    return statement.where(column == value)
