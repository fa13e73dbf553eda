"""Definitions by id or by name: which one somebody means."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Table, func, select

from api.readmodel.reader import Reader, consistent
from schemas import tables as t
from schemas.base import Value
from schemas.definitions import Kind

TABLES: dict[Kind, Table] = {
    "vm": t.vms,
    "group": t.machine_groups,
    "schedule": t.schedules,
    "repository": t.repositories,
    "policy": t.policies,
    "flow": t.protection_flows,
    "notification": t.notifications,
}
MOST_CANDIDATES = 5


class Named(Value, frozen=True, kw_only=True):
    """How many definitions have a name, and the ids of the first of them."""

    count: int
    ids: list[str]


@consistent
async def existing(reader: Reader, kind: Kind, ids: Iterable[str]) -> set[str]:
    """Return those of some ids that there are."""
    column = TABLES[kind].c.id
    return {row.id for row in await reader.rows(select(column).where(column.in_(sorted(set(ids)))))}


@consistent
async def named(reader: Reader, kind: Kind, names: Iterable[str]) -> dict[str, Named]:
    """Return who has some names; a name that nobody has is left out."""
    c = TABLES[kind].c
    counted = select(c.name, func.count().label("number"), func.min(c.id).label("first"))
    rows = await reader.rows(counted.where(c.name.in_(sorted(set(names)))).group_by(c.name))
    found = {row.name: Named(count=row.number, ids=[row.first]) for row in rows}
    for name in [name for name, one in found.items() if one.count > 1][:MOST_CANDIDATES]:
        some = await reader.rows(select(c.id).where(c.name == name).order_by(c.id).limit(MOST_CANDIDATES))
        found[name] = Named(count=found[name].count, ids=[row.id for row in some])
    return found
