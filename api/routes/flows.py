"""Routes of protection flows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from litestar import Response, get, post
from litestar.params import FromQuery, JSONBody, QueryParameter
from msgspec import structs

from api.context import Context
from api.problems import ApiError, Pending, not_found
from api.readmodel import calendar, executions, explain, flows, statistics
from api.readmodel import dry_run as dry_runs
from api.readmodel.executions import ExecutionFilter
from api.readmodel.flows import FlowFilter
from api.readmodel.reader import Page, Reader
from api.requests import BackfillRequest, BulkRequest, CloneRequest, FlowPatchRequest, FlowRequest
from api.responses.calendar import OccurrenceList
from api.responses.executions import ExecutionList, StartedExecution, Statistics
from api.responses.flows import (
    BackfillResponse,
    BulkResponse,
    DryRun,
    Explanation,
    FlowList,
    FlowNow,
    FlowResponse,
    Summary,
)
from api.routes.calendar import LONGEST, period
from api.routes.crud import Resource, changed, known, required, router
from api.routes.parameters import (
    READ,
    WRITE,
    At,
    DefinitionColumn,
    Enabled,
    Label,
    Limit,
    Offset,
    PathId,
    Q,
    Since,
    Until,
    moment,
    page,
)
from api.validation import FieldError
from bus.clock import now
from bus.errors import LogError
from schemas import commands as c
from schemas.definitions import FlowSpec, FlowType, TargetType
from schemas.events import ExecutionStatus, ExecutionType
from schemas.ids import manual_execution_id
from services.executor import starting as executor

FlowColumn = Literal[DefinitionColumn, "priority", "-priority", "last_execution_time", "-last_execution_time"]
FlowSort = FromQuery[Annotated[FlowColumn | None, QueryParameter(description="a column; `-` before it: descending")]]

NEXT_RUNS = 10
RUN_NOW = (
    "Run a flow now. 409 when it cannot run, with the reason. Sent again with its `Idempotency-Key`, it runs nothing "
    "and answers with the first run as it is now. When the flow has been deleted since, the run is told from the log: "
    "how it began and ended, although `GET /executions/{id}` does not know it any more."
)
MOST_FILLED = 1000  # occurrences in one backfill
BULK_AT_ONCE = 50
CANCEL_PATIENCE = 15.0  # seconds to wait for the end of what was cancelled
CANCEL_POLL = 0.1  # seconds


async def _read(reader: Reader, flow_id: str) -> FlowResponse | None:
    return await flows.one(reader, flow_id, now())


async def _not_running(context: Context, flow_id: str, force: bool = False) -> None:
    """Raise 409 while an execution runs. With `force` cancel it first, and wait for its end."""
    deadline = asyncio.get_running_loop().time() + CANCEL_PATIENCE
    cancelled: set[str] = set()
    while True:
        context.check_open()
        wanted = ExecutionFilter(flow_id=flow_id, status="running")
        running = (await executions.find(context.reader, wanted, flows.RUNNING)).executions
        if not running:
            return
        if not force:
            raise ApiError(409, f"execution {running[0].id!r} of this flow is running: cancel it, or use ?force=true")
        for execution in running:
            if execution.id not in cancelled:
                cancelled.add(execution.id)
                with suppress(ApiError):  # it has ended by itself meanwhile
                    await context.submit(c.CancelExecution(id=execution.id), part=execution.id)
        if asyncio.get_running_loop().time() > deadline:
            raise ApiError(409, f"execution {running[0].id!r} was cancelled and has not ended yet: try again soon")
        await asyncio.sleep(CANCEL_POLL)


FLOW = Resource(
    kind="flow",
    path="/protection-flows",
    tag="Protection flows",
    input=FlowRequest,
    patch=FlowPatchRequest,
    answer=FlowResponse,
    create=c.CreateFlow,
    update=c.UpdateFlow,
    delete=c.DeleteFlow,
    enable=c.EnableFlow,
    disable=c.DisableFlow,
    read=_read,
    before_delete=_not_running,
    resumable=True,
)


@get("/", responses=READ)
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


@post("/{flow_id:str}/execute", status_code=202, responses=WRITE, description=RUN_NOW)
async def execute_flow(context: Context, flow_id: PathId) -> Response[StartedExecution]:
    """Run a flow now."""
    await required(FLOW, context, flow_id)
    return await started(context, c.ExecuteFlow(id=flow_id), flow_id)


async def started(context: Context, command: c.Command, flow_id: str) -> Response[StartedExecution]:
    """Submit a command that starts an execution of a flow, and return 202 with it and its address."""
    command_id = await context.submit(command)
    execution_id = manual_execution_id(command_id)
    execution = await executions.one(context.reader, execution_id)
    if execution is None:
        # its rows went with its flow, or were pruned: the log remembers longer
        execution = await context.from_log(command_id, flow_id, execution_id)
    values = {field: getattr(execution, field) for field in execution.__struct_fields__}
    message = f"started {execution.jobs_created} backups" if execution.jobs_created else "nothing to back up"
    body = StartedExecution(**values, execution_id=execution_id, message=message)
    return Response(body, status_code=202, headers={"Location": f"/api/v1/executions/{execution_id}"})


@get("/{flow_id:str}/executions", responses=READ)
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


@get("/{flow_id:str}/status", responses=READ)
async def flow_status(context: Context, flow_id: PathId) -> FlowNow:
    """Return how a flow is doing now, and when it runs next."""
    found = await flows.at_present(context.reader, flow_id, context.now, NEXT_RUNS)
    if found is None:
        raise not_found("flow", flow_id)
    return found


@get("/{flow_id:str}/occurrences", responses=READ)
async def flow_occurrences(
    context: Context, flow_id: PathId, since: Since = None, until: Until = None
) -> OccurrenceList:
    """List a flow's occurrences in a range, at most a year: those that passed with what became of them, those to come.

    Without a range: from a day ago, for two.
    """
    since = since or (context.now - timedelta(days=1)).isoformat()
    start, end = period(context, since, until, timedelta(days=2))
    found = await calendar.outcomes(context.reader, flow_id, start, end, context.now)
    if found is None:
        raise not_found("flow", flow_id)
    return found


@get("/{flow_id:str}/explain", responses=READ)
async def explain_flow(context: Context, flow_id: PathId, at: At = None) -> Explanation:
    """Say in plain words why a flow ran, or did not, at an instant or last."""
    found = await explain.of_flow(context.reader, flow_id, moment("at", at), context.now)
    if found is None:
        raise not_found("flow", flow_id)
    return found


@get("/statistics", responses=READ)
async def statistics_of_all(
    context: Context, since: Since = None, until: Until = None, flow_id: FromQuery[str | None] = None
) -> Statistics:
    """Count executions by day, of one flow or of all: how they ended, how long they took, what they moved."""
    since = since or (context.now - timedelta(days=30)).isoformat()
    start, end = period(context, since, until, timedelta(days=31))
    return await statistics.by_day(context.reader, start, end, flow_id)


@post("/{flow_id:str}/backfill", status_code=202, responses=WRITE)
async def backfill(context: Context, flow_id: PathId, data: JSONBody[BackfillRequest]) -> BackfillResponse:
    """Execute past occurrences of a flow's schedule now, so many at a time, whatever its overlap policy."""
    if isinstance(earlier := await context.earlier(), c.CreateBackfill):
        return await _backfilled(context, data, earlier)
    await known(FLOW, context, flow_id)
    if data.to > context.now or data.from_ >= data.to or data.to - data.from_ > LONGEST:
        message = f"the range must lie in the past, end after it begins, and be {LONGEST.days} days long at most"
        raise ApiError(422, message, errors=[FieldError(field="to", message=message)])
    found = await calendar.to_fill(context.reader, flow_id, data.from_, data.to, data.mode)
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


@post("/{flow_id:str}/backfill/{backfill_id:str}/cancel", status_code=202, responses=WRITE)
async def cancel_backfill(context: Context, flow_id: PathId, backfill_id: PathId) -> ExecutionList:
    """Stop a backfill: what waits is skipped, what runs is stopped."""
    await required(FLOW, context, flow_id)
    await context.submit(c.CancelBackfill(id=backfill_id, flow_id=flow_id))
    return await executions.find(context.reader, ExecutionFilter(backfill_id=backfill_id), Page(limit=500))


@get("/summary", responses=READ)
async def summary(
    context: Context,
    timezone: FromQuery[Annotated[str, QueryParameter(max_length=64, description="whose day is today")]] = "UTC",
) -> Summary:
    """Count flows, and today's executions."""
    try:
        zone = ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        raise ApiError(
            422,
            f"{timezone!r} is no IANA time zone",
            errors=[FieldError(field="timezone", message="no IANA time zone")],
        ) from None
    today = context.now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    return await flows.summary(context.reader, today)


@post("/{flow_id:str}/test", status_code=200, responses=READ)
async def dry_run(context: Context, flow_id: PathId) -> DryRun:
    """Say what running a flow now would do, by the executor's own decisions. Nothing is appended."""
    async with context.reader.snapshot() as reader:
        found = await dry_runs.of_flow(reader, flow_id)
        next_runs = await flows.next_runs(reader, flow_id, context.now, NEXT_RUNS)
    if found is None:
        raise not_found("flow", flow_id)
    known_now, flow = found
    preview = executor.preview(known_now, flow)
    without_disks = [one.vm_name for one in preview.planned if not known_now.vms[one.context_id].disks]
    warnings = [f"VM {name!r} has no disks: its backup will fail" for name in without_disks]
    if not preview.planned:
        warnings.append("there is nothing to back up: the execution would end as a warning at once")
    if not next_runs:
        warnings.append("nothing runs this flow by itself: it is disabled, or has no enabled schedule")
    return DryRun(
        valid=preview.refusal is None,
        errors=[preview.refusal] if preview.refusal else [],
        warnings=warnings,
        resolved_vms=[one.context_id for one in preview.planned],
        excluded=preview.excluded,
        next_runs=next_runs,
    )


@post("/{flow_id:str}/clone", responses=WRITE)
async def clone(context: Context, flow_id: PathId, data: JSONBody[CloneRequest]) -> Response[FlowResponse]:
    """Make another flow like this one, disabled."""
    if isinstance(earlier := await context.earlier(), c.CreateFlow):
        original = earlier.spec
    else:
        found = await dry_runs.of_flow(context.reader, flow_id)
        if found is None:
            raise not_found("flow", flow_id)
        original = found[1]
    fields = {field: getattr(original, field) for field in FlowSpec.__struct_fields__}
    copy_id = context.new_id("flow")
    spec = FlowSpec(**{**fields, "name": data.name, "enabled": False})
    await context.submit(c.CreateFlow(id=copy_id, spec=spec))
    return await changed(FLOW, context, copy_id, 201)


Bulk = Callable[[str], c.Command]
DryRunQuery = FromQuery[Annotated[bool, QueryParameter(description="only say what would happen")]]


@post("/bulk-enable", status_code=200, responses=WRITE)
async def bulk_enable(context: Context, data: JSONBody[BulkRequest], dry_run: DryRunQuery = False) -> BulkResponse:
    """Enable flows, each answered for itself."""
    return await _bulk(context, data, lambda id_: c.EnableFlow(id=id_), dry_run=dry_run)


@post("/bulk-disable", status_code=200, responses=WRITE)
async def bulk_disable(context: Context, data: JSONBody[BulkRequest], dry_run: DryRunQuery = False) -> BulkResponse:
    """Disable flows, each answered for itself."""
    return await _bulk(context, data, lambda id_: c.DisableFlow(id=id_), dry_run=dry_run)


@post("/bulk-delete", status_code=200, responses=WRITE)
async def bulk_delete(context: Context, data: JSONBody[BulkRequest], dry_run: DryRunQuery = False) -> BulkResponse:
    """Delete flows with their history, each answered for itself."""
    return await _bulk(context, data, lambda id_: c.DeleteFlow(id=id_), dry_run=dry_run, check=_not_running)


async def _bulk(
    context: Context,
    data: BulkRequest,
    command: Bulk,
    *,
    dry_run: bool,
    check: Callable[[Context, str], Awaitable[None]] | None = None,
) -> BulkResponse:
    gate = asyncio.Semaphore(BULK_AT_ONCE)

    async def one(flow_id: str) -> str | None:
        """Return why a flow was not changed, None when it was."""
        async with gate:
            try:
                if not await context.repeats(flow_id):
                    await known(FLOW, context, flow_id)
                    if check is not None:
                        await check(context, flow_id)
                if not dry_run:
                    await context.submit(command(flow_id), part=flow_id)
            except (ApiError, LogError) as error:
                return str(error)
            except Pending as pending:
                return f"not answered yet; see /api/v1/commands/{pending.command_id}"
        return None

    ids = list(dict.fromkeys(data.flow_ids))
    reasons = await asyncio.gather(*map(one, ids))
    failed = {id_: reason for id_, reason in zip(ids, reasons, strict=True) if reason is not None}
    return BulkResponse(successful=len(ids) - len(failed), failed=len(failed), errors=failed)


ROUTER = router(
    FLOW,
    [
        *(list_flows, summary, bulk_enable, bulk_disable, bulk_delete),
        *(execute_flow, flow_executions, flow_status, flow_occurrences, dry_run, clone, backfill, cancel_backfill),
        *(explain_flow, statistics_of_all),
    ],
)
