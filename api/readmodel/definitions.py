"""VMs, groups with their members, schedules, repositories, policies; and commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from sqlalchemy import JSON, ColumnElement, Select, Table, case, func, or_, select

from api.readmodel.reader import Page, Reader, consistent, containing, labelled, order, shaped
from api.responses.definitions import GroupList, GroupResponse, MemberList, MemberResponse, VmList, VmResponse
from api.responses.log import CommandResponse
from schemas import tables as t
from schemas.base import Value
from schemas.definitions import Disk

S = TypeVar("S", bound=Value)


class DefinitionFilter(Value, frozen=True, kw_only=True):
    """Which definitions; `q` is a part of the name."""

    enabled: bool | None = None
    q: str | None = None
    label: str | None = None


def _found(table: Table, statement: Select[Any], wanted: DefinitionFilter, sort: str | None) -> Select[Any]:
    if wanted.enabled is not None:
        statement = statement.where(table.c.enabled == wanted.enabled)
    if wanted.q is not None:
        statement = statement.where(containing(table.c.name, wanted.q))
    if wanted.label is not None:
        statement = statement.where(labelled(table.c.labels, wanted.label))
    return statement.order_by(*order(table, sort))


async def find(
    reader: Reader, table: Table, shape: type[S], wanted: DefinitionFilter, sort: str | None, page: Page
) -> tuple[list[S], int]:
    """Return a page of definitions whose rows are their shape (schedules, repositories, policies)."""
    rows, total = await reader.page(_found(table, select(table), wanted, sort), page, _large(table))
    return [shaped(shape, row) for row in rows], total


async def one(reader: Reader, table: Table, shape: type[S], id_: str) -> S | None:
    """Return one of them, None when there is none."""
    row = await reader.row(select(table).where(table.c.id == id_))
    return None if row is None else shaped(shape, row)


def _large(table: Table) -> list[ColumnElement[Any]]:
    """Return the columns of a table that may hold much."""
    return [column for column in table.c if isinstance(column.type, JSON)]


_VMS = select(*(column for column in t.vms.c if column.name != "disks"))  # they have a route of their own


async def vms(reader: Reader, wanted: DefinitionFilter, sort: str | None, page: Page) -> VmList:
    """Return a page of VMs."""
    rows, total = await reader.page(_found(t.vms, _VMS, wanted, sort), page, [t.vms.c.labels, t.vms.c.tags])
    return VmList(vm_contexts=[_vm(row) for row in rows], total=total)


async def vm(reader: Reader, context_id: str) -> VmResponse | None:
    """Return a VM, None when there is none."""
    row = await reader.row(_VMS.where(t.vms.c.id == context_id))
    return None if row is None else _vm(row)


async def vm_ids(reader: Reader, id_or_name: str) -> list[str]:
    """Return the VM with an id; else those with a name, of many the first few."""
    v = t.vms
    named = select(v.c.id).where(or_(v.c.id == id_or_name, v.c.name == id_or_name))
    ids = [row.id for row in await reader.rows(named.order_by(v.c.id != id_or_name, v.c.id).limit(10))]
    return ids[:1] if id_or_name in ids else ids


async def disks(reader: Reader, context_id: str) -> list[Disk] | None:
    """Return a VM's disks, None when there is no such VM."""
    row = await reader.row(select(t.vms.c.disks).where(t.vms.c.id == context_id))
    return None if row is None else msgspec.convert(row["disks"], list[Disk])


def _vm(row: Mapping[str, Any]) -> VmResponse:
    return shaped(VmResponse, {**row, "context_id": row["id"], "vm_name": row["name"]})


def _groups() -> Select[Any]:
    m = t.machine_group_members
    enabled = case((m.c.enabled & t.vms.c.enabled, 1), else_=0)
    counts = (
        select(m.c.group_id, func.count().label("total_vms"), func.sum(enabled).label("enabled_vms"))
        .join(t.vms, t.vms.c.id == m.c.context_id)
        .group_by(m.c.group_id)
        .subquery()
    )
    return select(
        t.machine_groups,
        func.coalesce(counts.c.total_vms, 0).label("total_vms"),
        func.coalesce(counts.c.enabled_vms, 0).label("enabled_vms"),
    ).outerjoin(counts, counts.c.group_id == t.machine_groups.c.id)


async def groups(reader: Reader, wanted: DefinitionFilter, sort: str | None, page: Page) -> GroupList:
    """Return a page of groups."""
    rows, total = await reader.page(_found(t.machine_groups, _groups(), wanted, sort), page)
    return GroupList(groups=[_group(row) for row in rows], total=total)


async def group(reader: Reader, group_id: str) -> GroupResponse | None:
    """Return a group, None when there is none."""
    row = await reader.row(_groups().where(t.machine_groups.c.id == group_id))
    return None if row is None else _group(row)


def _group(row: Mapping[str, Any]) -> GroupResponse:
    return shaped(GroupResponse, {**row, "disabled_vms": row["total_vms"] - row["enabled_vms"]})


def _members(group_id: str) -> Select[*tuple[Any, ...]]:
    m = t.machine_group_members
    columns = (m.c.context_id, m.c.enabled, m.c.priority)
    names = (t.vms.c.name.label("vm_name"), t.vms.c.enabled.label("vm_enabled"))
    return select(*columns, *names).join(t.vms, t.vms.c.id == m.c.context_id).where(m.c.group_id == group_id)


@consistent
async def members(reader: Reader, group_id: str, page: Page) -> MemberList | None:
    """Return a page of a group's members, in its order; None when there is no such group."""
    if not await reader.rows(select(t.machine_groups.c.id).where(t.machine_groups.c.id == group_id)):
        return None
    rows, total = await reader.page(_members(group_id).order_by(t.machine_group_members.c.position), page)
    return MemberList(vms=[shaped(MemberResponse, row) for row in rows], total=total)


async def member(reader: Reader, group_id: str, context_id: str) -> MemberResponse | None:
    """Return one member, None when it is not in the group."""
    row = await reader.row(_members(group_id).where(t.machine_group_members.c.context_id == context_id))
    return None if row is None else shaped(MemberResponse, row)


async def command(reader: Reader, command_id: str) -> CommandResponse | None:
    """Return a command and its outcome, None when the tables do not have it (yet)."""
    row = await reader.row(select(t.commands).where(t.commands.c.id == command_id))
    return None if row is None else shaped(CommandResponse, row)
