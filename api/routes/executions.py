"""Routes of executions over all flows."""

from __future__ import annotations

from litestar import Response, Router, get, post
from litestar.params import FromQuery, JSONBody

from api import workers
from api.context import Context
from api.naming import referring
from api.problems import ApiError, not_found
from api.readmodel import events, executions, explain
from api.readmodel.executions import ExecutionFilter
from api.requests import CancelRequest
from api.responses.executions import ExecutionList, ExecutionResponse, JobList, StartedExecution
from api.responses.flows import Explanation
from api.responses.log import EventList
from api.routes.parameters import READ, WRITE, Label, Limit, Offset, PathId, Since, Until, moment, page
from api.routes.starting import start_execution
from schemas import commands as c
from schemas.events import ExecutionStatus, ExecutionType


@get("/", responses=READ, opt={"role": "viewer"})
async def list_executions(
    context: Context,
    limit: Limit = 50,
    offset: Offset = 0,
    flow_id: FromQuery[str | None] = None,
    backfill_id: FromQuery[str | None] = None,
    status: FromQuery[ExecutionStatus | None] = None,
    execution_type: FromQuery[ExecutionType | None] = None,
    label: Label = None,
    since: Since = None,
    until: Until = None,
) -> ExecutionList:
    """List executions over all flows, newest first."""
    wanted = ExecutionFilter(
        flow_id=flow_id,
        backfill_id=backfill_id,
        status=status,
        execution_type=execution_type,
        label=label,
        since=moment("from", since),
        until=moment("to", until),
    )
    return await executions.find(context.reader, wanted, page(limit, offset))


@get("/{execution_id:str}", responses=READ, opt={"role": "viewer"})
async def get_execution(context: Context, execution_id: PathId) -> ExecutionResponse:
    """Return one execution."""
    return await _known(context, execution_id)


@get("/{execution_id:str}/jobs", responses=READ, opt={"role": "viewer"})
async def execution_jobs(context: Context, execution_id: PathId, limit: Limit = 50, offset: Offset = 0) -> JobList:
    """List an execution's backups, one for each VM, in the order of its plan."""
    found = await executions.jobs(context.reader, execution_id, page(limit, offset))
    if found is None:
        raise not_found("execution", execution_id)
    return found


async def _known(context: Context, execution_id: str) -> ExecutionResponse:
    found = await executions.one(context.reader, execution_id)
    if found is None:
        raise not_found("execution", execution_id)
    return found


@get("/{execution_id:str}/events", responses=READ, opt={"role": "viewer"})
async def execution_events(context: Context, execution_id: PathId, limit: Limit = 50, offset: Offset = 0) -> EventList:
    """List the log's own messages of an execution, in order."""
    found = await events.of_execution(context.reader, execution_id, page(limit, offset))
    if found is None:
        raise not_found("execution", execution_id)
    return found


@get("/{execution_id:str}/explain", responses=READ, opt={"role": "viewer"})
async def explain_execution(context: Context, execution_id: PathId) -> Explanation:
    """Say in plain words what became of an execution, or of a trigger that became none, and why."""
    found = await explain.of_execution(context.reader, execution_id, context.now, await workers.labels(context.log))
    if found is None:
        raise not_found("execution", execution_id)
    return found


@post("/{execution_id:str}/cancel", status_code=202, responses=WRITE, opt={"role": "operator"})
async def cancel(
    context: Context, execution_id: PathId, data: JSONBody[CancelRequest | None] = None
) -> ExecutionResponse:
    """Stop an execution, or one VM of it. What runs is ended by its worker, what waits is skipped."""
    if not await context.repeats():
        await _known(context, execution_id)
    if data is not None:
        data = await referring(context, data, {"context_id": "vm"})
    await context.submit(c.CancelExecution(id=execution_id, context_id=data.context_id if data else None))
    return await _known(context, execution_id)


@post("/{execution_id:str}/retry", status_code=202, responses=WRITE, opt={"role": "operator"})
async def retry(context: Context, execution_id: PathId) -> Response[StartedExecution]:
    """Run the flow again over the VMs that failed, or never started, in this execution."""
    if isinstance(earlier := await context.earlier(), c.RetryExecution):
        return await start_execution(context, earlier, earlier.flow_id)
    async with context.reader.snapshot() as reader:
        execution = await executions.outline(reader, execution_id)
        failed = await executions.unsuccessful(reader, execution_id)
    if execution is None:
        raise not_found("execution", execution_id)
    if execution["started_at"] is None:
        what = "never began: run its flow" if execution["completed_at"] else "waits for its turn: nothing to retry yet"
        raise ApiError(409, f"execution {execution_id!r} {what}")
    if execution["completed_at"] is None:
        raise ApiError(409, f"execution {execution_id!r} is still running: there is nothing to retry yet")
    if execution["flow_id"] is None:
        raise ApiError(409, "a backup outside any flow has no flow to run again: ask for another one")
    if not failed:
        raise ApiError(409, f"every backup of execution {execution_id!r} succeeded: there is nothing to retry")
    command = c.RetryExecution(id=execution_id, flow_id=execution["flow_id"], context_ids=failed)
    return await start_execution(context, command, command.flow_id)


ROUTER = Router(
    path="/executions",
    route_handlers=[list_executions, get_execution, execution_jobs, execution_events, explain_execution, cancel, retry],
    tags=["Executions"],
)
