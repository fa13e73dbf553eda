"""A flow with all that it refers to, as a catalogue: what the engine's own decisions need for a dry run."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, select

from api.readmodel import flows
from api.readmodel.reader import Reader, TooMuch, consistent, shaped, size_of
from schemas import tables as t
from schemas.definitions import MOST_MEMBERS, Flow, Group, Member, Policy, Repository, Schedule, Vm
from schemas.events import (
    FlowDefined,
    GroupDefined,
    PolicyDefined,
    RepositoryDefined,
    ScheduleDefined,
)
from services.catalogue import Catalogue


@consistent
async def of_flow(reader: Reader, flow_id: str) -> tuple[Catalogue, Flow, set[str]] | None:
    """Return a flow with all that it refers to, and the VMs that have no disks; None when there is no such flow.

    Of the VMs there is only what plays a part in a decision: names, and whether they are enabled. Raises `TooMuch`.
    """
    flow = await flows.definition(reader, flow_id)
    if flow is None:
        return None
    catalogue, diskless = await of_definition(reader, flow)
    return catalogue, flow, diskless


@consistent
async def of_definition(reader: Reader, flow: Flow) -> tuple[Catalogue, set[str]]:
    """Return what `of_flow` does, of a flow that need not be in the tables."""
    catalogue = Catalogue()
    catalogue.evolve(FlowDefined(id=flow.id, version=flow.version, definition=flow))
    for row in await reader.mappings(_where(select(t.repositories), t.repositories.c.id, flow.repository_id)):
        catalogue.evolve(RepositoryDefined(id=row["id"], version=1, definition=shaped(Repository, row)))
    for row in await reader.mappings(_where(select(t.policies), t.policies.c.id, flow.policy_id)):
        catalogue.evolve(PolicyDefined(id=row["id"], version=1, definition=shaped(Policy, row)))
    for row in await reader.mappings(_where(select(t.schedules), t.schedules.c.id, flow.schedule_id)):
        catalogue.evolve(ScheduleDefined(id=row["id"], version=1, definition=shaped(Schedule, row)))
    if flow.target_type == "group":
        diskless = await _group(reader, catalogue, flow)
    else:
        diskless = await _vms(reader, catalogue, flow, _VMS.where(t.vms.c.id == flow.target_id))
    return catalogue, diskless


async def _group(reader: Reader, catalogue: Catalogue, flow: Flow) -> set[str]:
    m, group_id = t.machine_group_members, flow.target_id
    columns = select(m.c.context_id, m.c.enabled, m.c.priority).where(m.c.group_id == group_id)
    rows = await reader.mappings(columns.order_by(m.c.position).limit(MOST_MEMBERS + 1))
    if len(rows) > MOST_MEMBERS:
        raise TooMuch("a group with so many members", f"{MOST_MEMBERS:,}")
    members = [shaped(Member, row) for row in rows]
    for row in await reader.mappings(select(t.machine_groups).where(t.machine_groups.c.id == group_id)):
        group = shaped(Group, {**row, "members": members})
        catalogue.evolve(GroupDefined(id=group_id, version=1, definition=group))
    members_of = _VMS.join(m, m.c.context_id == t.vms.c.id).where(m.c.group_id == group_id)
    return await _vms(reader, catalogue, flow, members_of)


_VMS: Select[*tuple[Any, ...]] = select(
    t.vms.c.id,
    t.vms.c.name.label("vm_name"),
    t.vms.c.enabled,
    t.vms.c.worker_labels,
    (size_of(t.vms.c.disks) <= len("[]")).label("diskless"),
)


async def _vms(reader: Reader, catalogue: Catalogue, flow: Flow, statement: Select[*tuple[Any, ...]]) -> set[str]:
    born = {"version": 1, "created_at": flow.created_at, "updated_at": flow.created_at, "created_by": flow.created_by}
    diskless: set[str] = set()
    for row in await reader.rows(statement):
        catalogue.vms[row.id] = Vm(
            id=row.id, vm_name=row.vm_name, enabled=row.enabled, worker_labels=row.worker_labels, **born
        )
        if row.diskless:
            diskless.add(row.id)
    return diskless


def _where(statement: Select[Any], column: Any, value: str | None) -> Select[Any]:
    return statement.where(column == value)
