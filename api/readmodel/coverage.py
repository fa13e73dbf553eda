"""Which VMs are protected: facts from the tables, judged one by one (`protection`)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select

from api.readmodel import calendar, vms
from api.readmodel.protection import Promise, Standing, fires_again, newest_due, standing
from api.readmodel.reader import Page, Reader, TooMuch, consistent, containing, labelled
from api.responses.coverage import Coverage, CoverageCounts, CoverageState, CoveredVm, FlowOfVm
from schemas import tables as t
from schemas.base import Value
from services.scheduler.calendar import Budget

MOST = 20_000  # VMs of which one response is made
MOST_TIES = 200_000  # of a VM to a flow that backs it up
GAPS = timedelta(days=90)  # in which the longest time without a good backup is looked for
URGENCY: tuple[CoverageState, ...] = ("failing", "stale", "unprotected", "pending", "protected", "excluded")


class CoverageFilter(Value, frozen=True, kw_only=True):
    """Which VMs; `q` is a part of the name, `context_id` one alone, `flow_id` and `group_id` what they are in."""

    state: CoverageState | None = None
    q: str | None = None
    context_id: str | None = None
    flow_id: str | None = None
    group_id: str | None = None
    label: str | None = None


class Judged(Value, frozen=True, kw_only=True):
    """A VM with how it is, the flows that back it up, and its last backups that ended."""

    context_id: str
    vm_name: str
    created_at: datetime
    standing: Standing
    flows: list[FlowOfVm]
    good_at: datetime | None
    bytes: int  # of the last good one
    failed_at: datetime | None  # only when that was later
    failed_in: str | None  # its execution
    error: str | None

    @property
    def state(self) -> CoverageState:
        return self.standing.state


@consistent
async def find(reader: Reader, wanted: CoverageFilter, sort: str | None, page: Page, now: datetime) -> Coverage:
    """Return a page of VMs, the most urgent first when no order is asked for. Raises `TooMuch`."""
    judged = await judge(reader, wanted, now)
    matching = in_order([one for one in judged if wanted.state in {None, one.state}], sort)
    shown = matching[page.offset : page.offset + page.limit]
    return Coverage(vms=await _described(reader, shown, now), total=len(matching), counts=counts(judged), at=now)


def in_order(judged: Sequence[Judged], sort: str | None) -> list[Judged]:
    """Return VMs in an order: by state, `vm_name` or `last_good_at` (never comes first), with `-` the other way."""
    by_name = sorted(judged, key=lambda one: (one.vm_name.casefold(), one.context_id))
    descending = sort is not None and sort.startswith("-")
    match (sort or "state").removeprefix("-"):
        case "vm_name":
            return by_name[::-1] if descending else by_name
        case "last_good_at":
            return sorted(by_name, key=lambda one: one.good_at.timestamp() if one.good_at else 0.0, reverse=descending)
        case _:
            return sorted(by_name, key=lambda one: URGENCY.index(one.state), reverse=descending)


def counts(judged: Iterable[Judged]) -> CoverageCounts:
    """Return how many VMs are in each state."""
    return CoverageCounts(**Counter(one.state for one in judged))


async def judge(reader: Reader, wanted: CoverageFilter, now: datetime) -> list[Judged]:
    """Return each VM that matches, whatever its state. Raises `TooMuch`."""
    matching = _matching(wanted)
    v = t.vms
    rows = await reader.mappings(select(v.c.id, v.c.name, v.c.enabled, v.c.created_at).where(*matching).limit(MOST + 1))
    if len(rows) > MOST:
        raise TooMuch("the state of all VMs", f"{MOST:,} VMs; ask for those of a group, a flow or a label")
    ids = select(v.c.id).where(*matching)
    sizes, there = await _sizes(reader, ids), {row["id"] for row in rows}
    flows = [flow for flow in await _flows(reader) if flow["target_id"] in (sizes, there)[flow["target_type"] == "vm"]]
    of_vms, of_groups = _by_target(flows)
    if sum(len(found) * sizes[group_id] for group_id, found in of_groups.items()) > MOST_TIES:
        raise TooMuch("the state of all VMs", f"{MOST_TIES:,} pairs of a VM and a flow; ask for fewer VMs")
    newest = await _newest(reader, ids)
    promised = await _promises(reader, flows, now)
    memberships = await _memberships(reader, of_groups, ids)
    judged: list[Judged] = []
    for row in rows:
        direct = [(flow, flow["armed_at"]) for flow in of_vms[row["id"]]]
        through = [(flow, at) for group_id, at in memberships[row["id"]] for flow in of_groups[group_id]]
        judged.append(_judged(row, newest, [*direct, *through], promised))
    return judged


def _judged(
    row: Mapping[str, Any],
    newest: Mapping[tuple[str, str], Mapping[str, Any]],
    tied: Sequence[tuple[Mapping[str, Any], datetime]],
    promised: Mapping[str, tuple[datetime, datetime | None]],
) -> Judged:
    good, failed = newest.get((row["id"], "success")), newest.get((row["id"], "error"))
    if failed and good and failed["completed_at"] <= good["completed_at"]:
        failed = None
    promises: dict[str, Promise] = {}
    for flow, since in tied:
        if flow["id"] in promised:
            armed, due = promised[flow["id"]]
            begun = max(armed, row["created_at"], *([] if good else [since]))
            promises[flow["id"]] = Promise(flow_id=flow["id"], flow_name=flow["name"], since=begun, due=due)
    named = {flow["id"]: flow["name"] for flow, _ in tied}
    return Judged(
        context_id=row["id"],
        vm_name=row["name"],
        created_at=row["created_at"],
        standing=standing(
            list(promises.values()),
            enabled=row["enabled"],
            good=good["started_at"] if good else None,
            failed=failed["completed_at"] if failed else None,
            error=failed["error_message"] if failed else None,
            by_hand=bool(named),
        ),
        flows=[
            FlowOfVm(id=id_, name=name, scheduled=id_ in promises)
            for id_, name in sorted(named.items(), key=lambda item: item[1])
        ],
        good_at=good["completed_at"] if good else None,
        bytes=good["bytes_transferred"] if good else 0,
        failed_at=failed["completed_at"] if failed else None,
        failed_in=failed["execution_id"] if failed else None,
        error=failed["error_message"] if failed else None,
    )


def _matching(wanted: CoverageFilter) -> list[ColumnElement[bool]]:
    """Return the conditions that VMs are to meet, whatever their state."""
    v = t.vms
    found: list[ColumnElement[bool]] = []
    if wanted.q is not None:
        found.append(containing(v.c.name, wanted.q))
    if wanted.context_id is not None:
        found.append(v.c.id == wanted.context_id)
    if wanted.label is not None:
        found.append(labelled(v.c.labels, wanted.label))
    if wanted.group_id is not None:
        found.append(v.c.id.in_(_members(wanted.group_id)))
    if wanted.flow_id is not None:
        found.append(_of_flow(wanted.flow_id))
    return found


async def _newest(reader: Reader, context_ids: Select[Any]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Return, by VM and status, the last backups of some VMs that succeeded, and that failed."""
    j = t.backup_jobs
    ended = j.c.status.in_(("success", "error")) & j.c.context_id.in_(context_ids)
    last = (
        select(j.c.context_id, j.c.status, func.max(j.c.completed_at).label("at"))
        .where(ended)
        .group_by(j.c.context_id, j.c.status)
        .subquery()
    )
    columns = (j.c.context_id, j.c.status, j.c.started_at, j.c.completed_at, j.c.execution_id)
    same = (j.c.context_id == last.c.context_id, j.c.status == last.c.status, j.c.completed_at == last.c.at)
    rows = select(*columns, j.c.error_message, j.c.bytes_transferred).join(last, and_(*same)).order_by(j.c.id)
    return {(row["context_id"], row["status"]): row for row in await reader.mappings(rows)}


def _members(group_id: str | ColumnElement[str]) -> Select[Any]:
    m = t.machine_group_members
    return select(m.c.context_id).where(m.c.group_id == group_id, m.c.enabled)


def _of_flow(flow_id: str) -> ColumnElement[bool]:
    """Return whether a VM is a flow's."""
    f, m = t.protection_flows, t.machine_group_members
    direct = select(f.c.target_id).where(f.c.id == flow_id, f.c.target_type == "vm")
    grouped = (
        select(m.c.context_id)
        .join(f, and_(f.c.target_type == "group", f.c.target_id == m.c.group_id))
        .where(f.c.id == flow_id, m.c.enabled)
    )
    return or_(t.vms.c.id.in_(direct), t.vms.c.id.in_(grouped))


async def _flows(reader: Reader) -> list[dict[str, Any]]:
    """Return the flows that can make backups: enabled, as are their repository, policy and group."""
    f, r, p, g = t.protection_flows, t.repositories, t.policies, t.machine_groups
    statement = (
        select(*(f.c.id, f.c.name, f.c.target_type, f.c.target_id, f.c.armed_at, f.c.schedule_id))
        .join(r, r.c.id == f.c.repository_id)
        .outerjoin(p, p.c.id == f.c.policy_id)
        .outerjoin(g, and_(f.c.target_type == "group", g.c.id == f.c.target_id))
        .where(f.c.enabled, f.c.flow_type == "backup", r.c.enabled)
        .where(or_(f.c.policy_id.is_(None), p.c.enabled), or_(f.c.target_type != "group", g.c.enabled))
    )
    return await reader.mappings(statement)


def _by_target(
    flows: Iterable[Mapping[str, Any]],
) -> tuple[defaultdict[str, list[Mapping[str, Any]]], defaultdict[str, list[Mapping[str, Any]]]]:
    """Return flows by the VM, and by the group, that they back up."""
    found: dict[str, defaultdict[str, list[Mapping[str, Any]]]] = {"vm": defaultdict(list), "group": defaultdict(list)}
    for flow in flows:
        found[flow["target_type"]][flow["target_id"]].append(flow)
    return found["vm"], found["group"]


async def _sizes(reader: Reader, context_ids: Select[Any]) -> Counter[str]:
    """Return how many of some VMs are enabled in each group."""
    m = t.machine_group_members
    members = select(m.c.group_id, func.count().label("members")).where(m.c.enabled, m.c.context_id.in_(context_ids))
    return Counter({row.group_id: row.members for row in await reader.rows(members.group_by(m.c.group_id))})


async def _memberships(
    reader: Reader, groups: Iterable[str], context_ids: Select[Any]
) -> defaultdict[str, list[tuple[str, datetime]]]:
    """Return, for each of some VMs, the groups in which it is enabled, each with when that was last changed."""
    m, g = t.machine_group_members, t.machine_groups
    statement = select(m.c.context_id, m.c.group_id, g.c.updated_at).join(g, g.c.id == m.c.group_id)
    found: defaultdict[str, list[tuple[str, datetime]]] = defaultdict(list)
    if wanted := set(groups):
        for row in await reader.rows(statement.where(m.c.enabled, m.c.context_id.in_(context_ids))):
            if row.group_id in wanted:
                found[row.context_id].append((row.group_id, row.updated_at))
    return found


async def _promises(
    reader: Reader, flows: Sequence[Mapping[str, Any]], now: datetime
) -> dict[str, tuple[datetime, datetime | None]]:
    """Return, of each flow that its schedule will run, from when on it promises backups, and what is due by now."""
    known = await calendar.schedules(reader, (flow["schedule_id"] for flow in flows))
    freeze = await calendar.freeze(reader)
    frozen = None if freeze is None else (freeze.since, freeze.until)
    budget = Budget(calendar.LOOKS)
    running = [one for one in known.values() if one.enabled and fires_again(one, now, budget)]
    due = {one.id: newest_due(one, now, frozen, budget) for one in running}
    if budget.left <= 0:
        raise TooMuch("the state of all VMs", f"{calendar.LOOKS:,} days of all schedules looked at; ask for fewer VMs")
    return {
        flow["id"]: (max(flow["armed_at"], known[flow["schedule_id"]].armed_at), due[flow["schedule_id"]])
        for flow in flows
        if flow["schedule_id"] in due
    }


async def _described(reader: Reader, shown: Sequence[Judged], now: datetime) -> list[CoveredVm]:
    """Return VMs with all that is shown of them."""
    v, ids = t.vms, [one.context_id for one in shown]
    about = select(v.c.id, v.c.enabled, v.c.tags, v.c.labels).where(v.c.id.in_(ids))
    rows = {row["id"]: row for row in await reader.mappings(about)}
    groups, gaps = await vms.groups(reader, ids), await _gaps(reader, ids, now)
    return [
        CoveredVm(
            context_id=one.context_id,
            vm_name=one.vm_name,
            enabled=rows[one.context_id]["enabled"],
            state=one.state,
            reason=one.standing.reason,
            tags=rows[one.context_id]["tags"],
            labels=rows[one.context_id]["labels"],
            groups=groups[one.context_id],
            flows=one.flows,
            last_good_at=one.good_at,
            last_attempt_at=one.failed_at or one.good_at,
            last_error=one.error,
            worst_gap_seconds=gaps.get(one.context_id),
            bytes=one.bytes,
        )
        for one in shown
    ]


async def _gaps(reader: Reader, ids: Sequence[str], now: datetime) -> dict[str, float]:
    """Return the longest time between good backups of each of some VMs, up to now, in seconds."""
    j = t.backup_jobs
    ended = j.c.completed_at
    before = func.lag(ended).over(partition_by=j.c.context_id, order_by=ended)
    good = (j.c.context_id.in_(ids), j.c.status == "success", ended >= now - GAPS)
    gaps = select(j.c.context_id, ended.label("ended"), before.label("before")).where(*good).subquery()
    longest = func.max(reader.seconds_between(gaps.c.before, gaps.c.ended)).label("longest")
    statement = select(gaps.c.context_id, longest, func.max(gaps.c.ended).label("last")).group_by(gaps.c.context_id)
    return {
        row.context_id: max(float(row.longest or 0.0), (now - row.last).total_seconds())
        for row in await reader.rows(statement)
    }
