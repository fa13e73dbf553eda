"""Groups with their members, schedules, repositories, policies; and commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import JSON, ColumnElement, Select, Table, case, func, select

from api.readmodel import applied
from api.readmodel.reader import Page, Reader, consistent, containing, labelled, order, shaped
from api.responses.definitions import GroupList, GroupResponse, MemberList, MemberResponse, PolicyList, PolicyResponse
from api.responses.log import CommandResponse
from schemas import tables as t
from schemas.base import Value

S = TypeVar("S", bound=Value)


class DefinitionFilter(Value, frozen=True, kw_only=True):
    """Which definitions; `q` is a part of the name."""

    enabled: bool | None = None
    q: str | None = None
    label: str | None = None


def matching(table: Table, statement: Select[Any], wanted: DefinitionFilter, sort: str | None) -> Select[Any]:
    """Return a statement for the definitions that are wanted, in order."""
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
    """Return a page of definitions whose rows are their shape (schedules, repositories)."""
    rows, total = await reader.page(matching(table, select(table), wanted, sort), page, _large(table))
    return [shaped(shape, row) for row in rows], total


async def one(reader: Reader, table: Table, shape: type[S], id_: str) -> S | None:
    """Return one of them, None when there is none."""
    row = await reader.row(select(table).where(table.c.id == id_))
    return None if row is None else shaped(shape, row)


async def policies(reader: Reader, wanted: DefinitionFilter, sort: str | None, page: Page) -> PolicyList:
    """Return a page of policies."""
    rows, total = await reader.page(matching(t.policies, select(t.policies), wanted, sort), page)
    return PolicyList(policies=[_policy(row) for row in rows], total=total)


async def policy(reader: Reader, policy_id: str) -> PolicyResponse | None:
    """Return a policy, None when there is none."""
    row = await reader.row(select(t.policies).where(t.policies.c.id == policy_id))
    return None if row is None else _policy(row)


def _policy(row: Mapping[str, Any]) -> PolicyResponse:
    return shaped(PolicyResponse, {**row, "not_applied": applied.of_policy(row)})


def _large(table: Table) -> list[ColumnElement[Any]]:
    """Return the columns of a table that may hold much."""
    return [column for column in table.c if isinstance(column.type, JSON)]


def _groups() -> Select[Any]:
    m = t.machine_group_members
    enabled = case((m.c.enabled & t.vms.c.enabled, 1), else_=0)
    counts = (
        select(m.c.group_id, func.count().label("total_vms"), func.sum(enabled).label("enabled_vms"))
        .join(t.vms, t.vms.c.id == m.c.context_id)
        .group_by(m.c.group_id)
        .subquery()
    )
    f = t.protection_flows
    last = (
        select(func.max(f.c.last_execution_time))
        .where(f.c.target_type == "group", f.c.target_id == t.machine_groups.c.id)
        .scalar_subquery()
    )
    return select(
        t.machine_groups,
        func.coalesce(counts.c.total_vms, 0).label("total_vms"),
        func.coalesce(counts.c.enabled_vms, 0).label("enabled_vms"),
        t.schedules.c.name.label("schedule_name"),
        last.label("last_execution"),
    ).select_from(
        t.machine_groups.outerjoin(counts, counts.c.group_id == t.machine_groups.c.id).outerjoin(
            t.schedules, t.schedules.c.id == t.machine_groups.c.schedule_id
        )
    )


async def groups(reader: Reader, wanted: DefinitionFilter, sort: str | None, page: Page) -> GroupList:
    """Return a page of groups."""
    rows, total = await reader.page(matching(t.machine_groups, _groups(), wanted, sort), page)
    return GroupList(groups=[_group(row) for row in rows], total=total)


async def group(reader: Reader, group_id: str) -> GroupResponse | None:
    """Return a group, None when there is none."""
    row = await reader.row(_groups().where(t.machine_groups.c.id == group_id))
    return None if row is None else _group(row)


def _group(row: Mapping[str, Any]) -> GroupResponse:
    counted = {**row, "disabled_vms": row["total_vms"] - row["enabled_vms"]}
    return shaped(GroupResponse, {**counted, "not_applied": applied.of_group(row)})


def _members(group_id: str) -> Select[*tuple[Any, ...]]:
    m = t.machine_group_members
    columns = (m.c.context_id, m.c.context_id.label("vm_context_id"), m.c.enabled, m.c.priority)
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


async def members_of(reader: Reader, group_id: str, context_ids: Sequence[str]) -> MemberList:
    """Return those of some VMs that are in a group, in its order."""
    m = t.machine_group_members
    wanted = _members(group_id).where(m.c.context_id.in_(context_ids)).order_by(m.c.position)
    rows = await reader.mappings(wanted)
    return MemberList(vms=[shaped(MemberResponse, row) for row in rows], total=len(rows))


async def command(reader: Reader, command_id: str) -> CommandResponse | None:
    """Return a command and its outcome, None when the tables do not have it (yet)."""
    row = await reader.row(select(t.commands).where(t.commands.c.id == command_id))
    return None if row is None else shaped(CommandResponse, row)
