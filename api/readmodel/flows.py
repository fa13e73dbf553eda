"""Flows, with the names of what they refer to and when they run next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Label, Select, case, func, select

from api.readmodel import calendar, executions, occurrences
from api.readmodel.executions import ExecutionFilter
from api.readmodel.reader import Page, Reader, consistent, containing, labelled, order, shaped
from api.responses.calendar import OccurrenceOutcome
from api.responses.flows import FlowList, FlowNow, FlowResponse, FlowStatus, Summary
from schemas import tables as t
from schemas.base import Value
from schemas.definitions import Flow, Schedule
from services.scheduler.calendar import Budget

RUNNING = Page(limit=100)
RECENT = 10  # executions whose status is told with a flow


class FlowFilter(Value, frozen=True, kw_only=True):
    """Which flows; `q` is a part of the name or description, `status` that of the last execution."""

    flow_type: str | None = None
    target_type: str | None = None
    target_id: str | None = None
    enabled: bool | None = None
    schedule_id: str | None = None
    repository_id: str | None = None
    policy_id: str | None = None
    status: str | None = None
    q: str | None = None
    label: str | None = None


def _select() -> Select[Any]:
    f = t.protection_flows
    return (
        select(
            f,
            func.coalesce(t.vms.c.name, t.machine_groups.c.name).label("target_name"),
            t.repositories.c.name.label("repository_name"),
            t.policies.c.name.label("policy_name"),
            t.schedules.c.name.label("schedule_name"),
            t.schedules.c.cron_expression.label("schedule_cron"),
            _recent(),
        )
        .outerjoin(t.vms, (f.c.target_type == "vm") & (t.vms.c.id == f.c.target_id))
        .outerjoin(t.machine_groups, (f.c.target_type == "group") & (t.machine_groups.c.id == f.c.target_id))
        .outerjoin(t.repositories, t.repositories.c.id == f.c.repository_id)
        .outerjoin(t.policies, t.policies.c.id == f.c.policy_id)
        .outerjoin(t.schedules, t.schedules.c.id == f.c.schedule_id)
    )


def _recent() -> Label[str]:
    """Select the statuses of a flow's newest executions, newest first, as one text."""
    e, f = t.executions.c, t.protection_flows
    ended = e.status.in_(("success", "warning", "error", "cancelled"))
    newest = (
        select(e.status)
        .where(e.flow_id == f.c.id, ended)
        .order_by(e.created_at.desc(), e.id.desc())
        .limit(RECENT)
        .correlate(f)
        .subquery()
    )
    joined: ColumnElement[str] = select(func.aggregate_strings(newest.c.status, ",")).scalar_subquery()
    return joined.label("recent_executions")


@consistent
async def find(reader: Reader, wanted: FlowFilter, sort: str | None, page: Page, now: datetime) -> FlowList:
    """Return a page of flows."""
    f = t.protection_flows
    matching = select(f.c.id)
    columns = ("flow_type", "target_type", "target_id", "enabled", "schedule_id", "repository_id", "policy_id")
    for column in columns:
        if (value := getattr(wanted, column)) is not None:
            matching = matching.where(f.c[column] == value)
    if wanted.status is not None:
        matching = matching.where(f.c.last_execution_status == wanted.status)
    if wanted.q is not None:
        matching = matching.where(containing(f.c.name, wanted.q) | containing(f.c.description, wanted.q))
    if wanted.label is not None:
        matching = matching.where(labelled(f.c.labels, wanted.label))
    # names are joined to the page alone, however many flows match and however far down it is
    order_by = order(f, sort)
    ids, total = await reader.page(matching.order_by(*order_by), page, [f.c.destination_config, f.c.description])
    rows = await reader.mappings(_select().where(f.c.id.in_([row["id"] for row in ids])).order_by(*order_by))
    return FlowList(flows=await _responses(reader, rows, now), total=total)


@consistent
async def one(reader: Reader, flow_id: str, now: datetime) -> FlowResponse | None:
    """Return a flow, None when there is none."""
    row = await reader.row(_select().where(t.protection_flows.c.id == flow_id))
    return None if row is None else (await _responses(reader, [row], now))[0]


async def existing(reader: Reader, ids: Sequence[str]) -> set[str]:
    """Return those of some ids that are flows'."""
    f = t.protection_flows
    return {row.id for row in await reader.rows(select(f.c.id).where(f.c.id.in_(ids)))}


async def visible_ids(reader: Reader) -> set[str]:
    """Return the ids of all flows that a reader finds."""
    return {row.id for row in await reader.rows(select(t.protection_flows.c.id))}


async def definition(reader: Reader, flow_id: str) -> Flow | None:
    """Return a flow as it was defined, None when there is none."""
    row = await reader.row(select(t.protection_flows).where(t.protection_flows.c.id == flow_id))
    return None if row is None else shaped(Flow, row)


@consistent
async def at_present(reader: Reader, flow_id: str, now: datetime, count: int) -> FlowNow | None:
    """Return a flow with its last execution, those that run, and its next `count` runs; None when there is none."""
    flow = await one(reader, flow_id, now)
    if flow is None:
        return None
    last = flow.status.last_execution_id
    running = await executions.find(reader, ExecutionFilter(flow_id=flow_id, status="running"), RUNNING)
    pending = await executions.find(reader, ExecutionFilter(flow_id=flow_id, status="pending"), RUNNING)
    coming = await next_runs(reader, flow_id, now, count)
    return FlowNow(
        flow=flow,
        last_execution=await executions.one(reader, last) if last else None,
        running_executions=running.executions,
        pending_executions=pending.executions,
        next_run=coming[0] if coming else None,
        next_runs=coming,
        next_occurrences=await _next_occurrences(reader, flow_id, now, count),
    )


@consistent
async def next_runs(reader: Reader, flow_id: str, now: datetime, count: int) -> list[datetime]:
    """Return when a flow will run next, by the scheduler's own calendar."""
    flow, schedule = await _scheduled(reader, flow_id)
    frozen = await calendar.freeze(reader)
    coming = calendar.upcoming(flow, schedule, now, frozen, Budget(calendar.LOOKS))
    return [fires_at for _, fires_at in islice(coming, count)]


@consistent
async def following(reader: Reader, flow: Flow, now: datetime, count: int) -> tuple[Sequence[datetime], str | None]:
    """Return when a flow would run next that need not be in the tables, or why nothing would run it by itself."""
    row = {"id": flow.id, "enabled": flow.enabled, "armed_at": flow.armed_at}
    schedule = (await calendar.schedules(reader, [flow.schedule_id])).get(flow.schedule_id or "")
    budget = Budget(calendar.LOOKS)
    coming = calendar.upcoming(row, schedule, now, await calendar.freeze(reader), budget)
    found = [fires_at for _, fires_at in islice(coming, count)]
    return found, None if found else calendar.why_not(row, schedule) or _not_found(budget)


async def _next_occurrences(reader: Reader, flow_id: str, now: datetime, count: int) -> list[OccurrenceOutcome]:
    flow, schedule = await _scheduled(reader, flow_id)
    frozen = await calendar.freeze(reader)
    return list(islice(calendar.coming(flow, schedule, now, frozen, Budget(calendar.LOOKS)), count))


async def _scheduled(reader: Reader, flow_id: str) -> tuple[Mapping[str, Any], Schedule | None]:
    """Return a flow's row, as its occurrences need it, and its schedule."""
    flow = await reader.row(occurrences.flows().where(t.protection_flows.c.id == flow_id))
    if flow is None:
        return {"id": flow_id, "enabled": False}, None
    known = await calendar.schedules(reader, [flow["schedule_id"]])
    return flow, known.get(flow["schedule_id"] or "")


@consistent
async def summary(reader: Reader, midnight: datetime) -> Summary:
    """Return totals; executions since `midnight` are today's, each counted once, whatever flow they are of."""
    f, e = t.protection_flows, t.executions

    def count(condition: ColumnElement[bool]) -> ColumnElement[int]:
        return func.count(case((condition, 1)))

    flows = await reader.row(
        select(
            func.count().label("total_flows"),
            count(f.c.enabled).label("enabled_flows"),
            count(~f.c.enabled).label("disabled_flows"),
            count(f.c.flow_type == "backup").label("backup_flows"),
            count(f.c.flow_type == "replication").label("replication_flows"),
        ).select_from(f)
    )
    executions = await reader.row(
        select(
            func.count().label("total_executions_today"),
            count(e.c.status.in_(("success", "warning"))).label("successful_executions_today"),
            count(e.c.status == "error").label("failed_executions_today"),
        )
        .select_from(e)
        .where(e.c.started_at >= midnight)
    )
    return shaped(Summary, {**(flows or {}), **(executions or {})})


async def _responses(reader: Reader, rows: Sequence[Mapping[str, Any]], now: datetime) -> list[FlowResponse]:
    """Return responses, each with when its flow runs next; all of them together take a limited search."""
    frozen, budget = await calendar.freeze(reader), Budget(calendar.LOOKS)
    known = await calendar.schedules(reader, (row["schedule_id"] for row in rows))
    found: list[FlowResponse] = []
    for row in rows:
        schedule = known.get(row["schedule_id"] or "")
        following = next(calendar.upcoming(row, schedule, now, frozen, budget), None)
        why_not = None if following else calendar.why_not(row, schedule) or _not_found(budget)
        recent = row["recent_executions"]
        more = {"recent_executions": recent.split(",") if recent else []}
        next_run = {"next_execution_time": following and following[1], "next_execution_reason": why_not}
        found.append(shaped(FlowResponse, {**row, "status": shaped(FlowStatus, {**row, **next_run, **more})}))
    return found


def _not_found(budget: Budget) -> str:
    if budget.left > 0:
        return "its schedule has no more occurrences"
    return "it was not searched for, as the schedules of this page take too long: ask for this flow alone"
