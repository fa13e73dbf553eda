"""Running flows: now, or over past occurrences."""

from __future__ import annotations

from litestar import Response, post
from litestar.params import JSONBody
from msgspec import structs

from api.context import Context
from api.problems import ApiError
from api.readmodel import executions, occurrences
from api.readmodel.executions import ExecutionFilter
from api.readmodel.reader import Page
from api.requests import BackfillRequest
from api.responses.executions import ExecutionList, StartedExecution
from api.responses.flows import BackfillResponse
from api.routes.calendar import LONGEST
from api.routes.crud import known, required
from api.routes.flows.definition import FLOW
from api.routes.parameters import WRITE, PathId
from api.routes.starting import start_execution
from api.validation import FieldError
from schemas import commands as c

RUN_NOW = (
    "Run a flow now. 409 when it cannot run, with the reason. Sent again with its `Idempotency-Key`, it runs nothing "
    "and returns the first run as it is now. When the flow has been deleted since, the run is read from the log: "
    "how it began and ended, although `GET /executions/{id}` does not know it any more."
)
MOST_FILLED = 1000  # occurrences in one backfill


@post("/{flow_id:str}/execute", status_code=202, responses=WRITE, description=RUN_NOW, opt={"role": "operator"})
async def execute_flow(context: Context, flow_id: PathId) -> Response[StartedExecution]:
    """Run a flow now."""
    await required(FLOW, context, flow_id)
    return await start_execution(context, c.ExecuteFlow(id=flow_id), flow_id)


@post("/{flow_id:str}/backfill", status_code=202, responses=WRITE, opt={"role": "operator"})
async def backfill(context: Context, flow_id: PathId, data: JSONBody[BackfillRequest]) -> BackfillResponse:
    """Execute past occurrences of a flow's schedule now, so many at a time, whatever its overlap policy."""
    if isinstance(earlier := await context.earlier(), c.CreateBackfill):
        return await _backfilled(context, data, earlier)
    await known(FLOW, context, flow_id)
    if data.to > context.now or data.from_ >= data.to or data.to - data.from_ > LONGEST:
        message = f"the range must lie in the past, end after it begins, and be {LONGEST.days} days long at most"
        raise ApiError(422, message, errors=[FieldError(field="to", message=message)])
    found = await occurrences.to_fill(context.reader, flow_id, data.from_, data.to, data.mode)
    if found is None:
        raise ApiError(409, "the flow has no schedule, so it has no occurrences")
    if len(found) > MOST_FILLED:
        raise ApiError(422, f"{len(found)} occurrences are too many at once: at most {MOST_FILLED}. Shorten the range")
    if data.dry_run or not found:
        message = f"{len(found)} occurrences would be executed" if found else "there is nothing to fill"
        return BackfillResponse(backfill_id=None, flow_id=flow_id, occurrences=found, message=message)
    id_ = context.new_id("backfill")
    command = c.CreateBackfill(id=id_, flow_id=flow_id, occurrences=found, max_concurrent=data.max_concurrent)
    return await _backfilled(context, data, command)


async def _backfilled(context: Context, data: BackfillRequest, command: c.CreateBackfill) -> BackfillResponse:
    """Submit a backfill. A request that comes again fills what the first one did, whatever is missing by now."""
    found = [at for at in command.occurrences if data.from_ <= at < data.to]
    await context.submit(structs.replace(command, occurrences=found, max_concurrent=data.max_concurrent))
    message = f"{len(found)} occurrences are executed, {data.max_concurrent} at a time"
    return BackfillResponse(backfill_id=command.id, flow_id=command.flow_id, occurrences=found, message=message)


@post("/{flow_id:str}/backfill/{backfill_id:str}/cancel", status_code=202, responses=WRITE, opt={"role": "operator"})
async def cancel_backfill(context: Context, flow_id: PathId, backfill_id: PathId) -> ExecutionList:
    """Stop a backfill: what waits is skipped, what runs is stopped."""
    await required(FLOW, context, flow_id)
    await context.submit(c.CancelBackfill(id=backfill_id, flow_id=flow_id))
    return await executions.find(context.reader, ExecutionFilter(backfill_id=backfill_id), Page(limit=500))
