"""Routes of protection flows."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from litestar import Response, get, post
from litestar.params import FromQuery, QueryParameter

from api.answers import ExecutionList, FlowAnswer, FlowList, FlowNow, StartedExecution
from api.desk import AtDesk
from api.inputs import FlowInput, FlowPatchInput
from api.problems import ApiError, not_found
from api.readmodel import executions, flows
from api.readmodel.executions import ExecutionFilter
from api.readmodel.flows import SORTS, FlowFilter
from api.readmodel.reading import Page, Reading
from api.routes.crud import Resource, known, router
from api.routes.parameters import READ, WRITE, Enabled, Limit, Offset, PathId, Q, Sort, bad_sort, page
from bus.log import now
from schemas import commands as c
from schemas.definitions import FlowType, TargetType
from schemas.events import ExecutionStatus, ExecutionType
from schemas.ids import manual_execution_id

RUNNING = Page(limit=100)
NEXT_RUNS = 10

Since = FromQuery[Annotated[datetime | None, QueryParameter(name="from", description="started at or after")]]
Until = FromQuery[Annotated[datetime | None, QueryParameter(name="to", description="started before")]]


async def _read(reading: Reading, flow_id: str) -> FlowAnswer | None:
    return await flows.one(reading, flow_id, now())


async def _not_running(desk: AtDesk, flow_id: str) -> None:
    running = await executions.find(desk.reading, ExecutionFilter(flow_id=flow_id, status="running"), Page(limit=1))
    if running.total:
        raise ApiError(409, f"execution {running.executions[0].id!r} of this flow is running: wait for its end")


FLOW = Resource(
    kind="flow",
    path="/protection-flows",
    tag="Protection flows",
    input=FlowInput,
    patch=FlowPatchInput,
    answer=FlowAnswer,
    create=c.CreateFlow,
    update=c.UpdateFlow,
    delete=c.DeleteFlow,
    enable=c.EnableFlow,
    disable=c.DisableFlow,
    read=_read,
    before_delete=_not_running,
)


@get("/", responses=READ)
async def list_flows(
    desk: AtDesk,
    limit: Limit = 50,
    offset: Offset = 0,
    enabled: Enabled = None,
    q: Q = None,
    sort: Sort = None,
    flow_type: FromQuery[FlowType | None] = None,
    target_type: FromQuery[TargetType | None] = None,
    target_id: FromQuery[str | None] = None,
    schedule_id: FromQuery[str | None] = None,
    repository_id: FromQuery[str | None] = None,
    policy_id: FromQuery[str | None] = None,
    status: FromQuery[ExecutionStatus | None] = None,
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
    )
    try:
        return await flows.find(desk.reading, wanted, sort, page(limit, offset), desk.now)
    except KeyError:
        raise bad_sort(sort, SORTS) from None


@post("/{flow_id:str}/execute", status_code=202, responses=WRITE)
async def execute_flow(desk: AtDesk, flow_id: PathId) -> Response[StartedExecution]:
    """Run a flow now. 409 when it cannot run, with the reason."""
    await known(FLOW, desk, flow_id)
    await desk.submit(c.ExecuteFlow(id=flow_id))
    execution_id = manual_execution_id(desk.command_id)
    execution = await executions.one(desk.reading, execution_id)
    if execution is None:
        raise not_found("execution", execution_id)
    values = {field: getattr(execution, field) for field in execution.__struct_fields__}
    message = f"started {execution.jobs_created} backups" if execution.jobs_created else "nothing to back up"
    body = StartedExecution(**values, execution_id=execution_id, message=message)
    return Response(body, status_code=202, headers={"Location": f"/api/v1/executions/{execution_id}"})


@get("/{flow_id:str}/executions", responses=READ)
async def flow_executions(
    desk: AtDesk,
    flow_id: PathId,
    limit: Limit = 50,
    offset: Offset = 0,
    status: FromQuery[ExecutionStatus | None] = None,
    execution_type: FromQuery[ExecutionType | None] = None,
    since: Since = None,
    until: Until = None,
) -> ExecutionList:
    """List a flow's executions, newest first."""
    await known(FLOW, desk, flow_id)
    wanted = ExecutionFilter(flow_id=flow_id, status=status, execution_type=execution_type, since=since, until=until)
    return await executions.find(desk.reading, wanted, page(limit, offset))


@get("/{flow_id:str}/status", responses=READ)
async def flow_status(desk: AtDesk, flow_id: PathId) -> FlowNow:
    """Return how a flow is doing now, and when it runs next."""
    flow: FlowAnswer = await known(FLOW, desk, flow_id)
    last = flow.status.last_execution_id
    running = await executions.find(desk.reading, ExecutionFilter(flow_id=flow_id, status="running"), RUNNING)
    next_runs = await flows.next_runs(desk.reading, flow_id, desk.now, NEXT_RUNS)
    return FlowNow(
        flow=flow,
        last_execution=await executions.one(desk.reading, last) if last else None,
        running_executions=running.executions,
        next_run=next_runs[0] if next_runs else None,
        next_runs=next_runs,
    )


ROUTER = router(FLOW, [list_flows, execute_flow, flow_executions, flow_status])
