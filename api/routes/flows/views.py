"""Flows as they are: lists, their executions and occurrences, and why they ran or did not."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from litestar import get
from litestar.params import FromQuery, QueryParameter

from api import workers
from api.context import Context
from api.problems import not_found
from api.readmodel import executions, explain, flows, occurrences, statistics
from api.readmodel.executions import ExecutionFilter
from api.readmodel.flows import FlowFilter
from api.responses.calendar import OccurrenceList
from api.responses.executions import ExecutionList, Statistics
from api.responses.flows import Explanation, FlowList, FlowNow, Summary
from api.routes.calendar import period
from api.routes.parameters import (
    READ,
    At,
    DefinitionColumn,
    Enabled,
    Label,
    Limit,
    Offset,
    PathId,
    Q,
    Since,
    Timezone,
    Until,
    moment,
    page,
    zone_of,
)
from schemas.definitions import FlowType, TargetType
from schemas.events import ExecutionStatus, ExecutionType

FlowColumn = Literal[DefinitionColumn, "priority", "-priority", "last_execution_time", "-last_execution_time"]
FlowSort = FromQuery[Annotated[FlowColumn | None, QueryParameter(description="a column; `-` before it: descending")]]

NEXT_RUNS = 10


@get("/", responses=READ, opt={"role": "viewer"})
async def list_flows(
    context: Context,
    limit: Limit = 50,
    offset: Offset = 0,
    enabled: Enabled = None,
    q: Q = None,
    sort: FlowSort = None,
    flow_type: FromQuery[FlowType | None] = None,
    target_type: FromQuery[TargetType | None] = None,
    target_id: FromQuery[str | None] = None,
    schedule_id: FromQuery[str | None] = None,
    repository_id: FromQuery[str | None] = None,
    policy_id: FromQuery[str | None] = None,
    status: FromQuery[ExecutionStatus | None] = None,
    label: Label = None,
) -> FlowList:
    """List flows, newest first; `total` counts all that match."""
    wanted = FlowFilter(
        flow_type=flow_type,
        target_type=target_type,
        target_id=target_id,
        enabled=enabled,
        schedule_id=schedule_id,
        repository_id=repository_id,
        policy_id=policy_id,
        status=status,
        q=q,
        label=label,
    )
    return await flows.find(context.reader, wanted, sort, page(limit, offset), context.now)


@get("/{flow_id:str}/executions", responses=READ, opt={"role": "viewer"})
async def flow_executions(
    context: Context,
    flow_id: PathId,
    limit: Limit = 50,
    offset: Offset = 0,
    status: FromQuery[ExecutionStatus | None] = None,
    execution_type: FromQuery[ExecutionType | None] = None,
    since: Since = None,
    until: Until = None,
) -> ExecutionList:
    """List a flow's executions, newest first."""
    wanted = ExecutionFilter(
        flow_id=flow_id,
        status=status,
        execution_type=execution_type,
        since=moment("from", since),
        until=moment("to", until),
    )
    found = await executions.of_flow(context.reader, wanted, page(limit, offset))
    if found is None:
        raise not_found("flow", flow_id)
    return found


@get("/{flow_id:str}/status", responses=READ, opt={"role": "viewer"})
async def flow_status(context: Context, flow_id: PathId) -> FlowNow:
    """Return how a flow is doing now, and when it runs next."""
    found = await flows.at_present(context.reader, flow_id, context.now, NEXT_RUNS)
    if found is None:
        raise not_found("flow", flow_id)
    return found


@get("/{flow_id:str}/occurrences", responses=READ, opt={"role": "viewer"})
async def flow_occurrences(
    context: Context, flow_id: PathId, since: Since = None, until: Until = None
) -> OccurrenceList:
    """List a flow's occurrences in a range, at most a year: those that passed with their outcome, those to come.

    Without a range: from a day ago, for two. The first 2,000; the rest follows from the last of them on.
    """
    since = since or (context.now - timedelta(days=1)).isoformat()
    start, end = period(context, since, until, timedelta(days=2))
    found = await occurrences.outcomes(context.reader, flow_id, start, end, context.now)
    if found is None:
        raise not_found("flow", flow_id)
    return found


@get("/{flow_id:str}/explain", responses=READ, opt={"role": "viewer"})
async def explain_flow(context: Context, flow_id: PathId, at: At = None) -> Explanation:
    """Say in plain words why a flow ran, or did not, at an instant or last."""
    asked_at = moment("at", at, bounded=True)
    found = await explain.of_flow(context.reader, flow_id, asked_at, context.now, await workers.labels(context.log))
    if found is None:
        raise not_found("flow", flow_id)
    return found


@get("/statistics", responses=READ, opt={"role": "viewer"})
async def statistics_of_all(
    context: Context, since: Since = None, until: Until = None, flow_id: FromQuery[str | None] = None
) -> Statistics:
    """Count executions by day, of one flow or of all: how they ended, how long they took, what they moved."""
    since = since or (context.now - timedelta(days=30)).isoformat()
    start, end = period(context, since, until, timedelta(days=31))
    return await statistics.by_day(context.reader, start, end, flow_id)


@get("/summary", responses=READ, opt={"role": "viewer"})
async def summary(context: Context, timezone: Timezone = "UTC") -> Summary:
    """Count flows, and today's executions."""
    today = context.now.astimezone(zone_of(timezone)).replace(hour=0, minute=0, second=0, microsecond=0)
    return await flows.summary(context.reader, today)
