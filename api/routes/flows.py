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

from api.answers import (
    BackfillAnswer,
    BulkAnswer,
    DryRun,
    ExecutionList,
    Explanation,
    FlowAnswer,
    FlowList,
    FlowNow,
    OutcomeList,
    StartedExecution,
    Statistics,
    Summary,
)
from api.desk import AtDesk
from api.inputs import BackfillInput, BulkInput, CloneInput, FlowInput, FlowPatchInput
from api.problems import ApiError, FieldError, Pending, not_found
from api.readmodel import calendar, executions, explain, flows, statistics
from api.readmodel import dry_run as dry_runs
from api.readmodel.executions import ExecutionFilter
from api.readmodel.flows import FlowFilter
from api.readmodel.reading import Page, Reading
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


async def _read(reading: Reading, flow_id: str) -> FlowAnswer | None:
    return await flows.one(reading, flow_id, now())


async def _not_running(desk: AtDesk, flow_id: str, force: bool = False) -> None:
    """Raise 409 while an execution runs. With `force` cancel it first, and wait for its end."""
    deadline = asyncio.get_running_loop().time() + CANCEL_PATIENCE
    cancelled: set[str] = set()
    while True:
        desk.check_open()
        wanted = ExecutionFilter(flow_id=flow_id, status="running")
        running = (await executions.find(desk.reading, wanted, flows.RUNNING)).executions
        if not running:
            return
        if not force:
            raise ApiError(409, f"execution {running[0].id!r} of this flow is running: cancel it, or use ?force=true")
        for execution in running:
            if execution.id not in cancelled:
                cancelled.add(execution.id)
                with suppress(ApiError):  # it has ended by itself meanwhile
                    await desk.submit(c.CancelExecution(id=execution.id), part=execution.id)
        if asyncio.get_running_loop().time() > deadline:
            raise ApiError(409, f"execution {running[0].id!r} was cancelled and has not ended yet: try again soon")
        await asyncio.sleep(CANCEL_POLL)


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
    resumable=True,
)


@get("/", responses=READ)
async def list_flows(
    desk: AtDesk,
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
    return await flows.find(desk.reading, wanted, sort, page(limit, offset), desk.now)


@post("/{flow_id:str}/execute", status_code=202, responses=WRITE, description=RUN_NOW)
async def execute_flow(desk: AtDesk, flow_id: PathId) -> Response[StartedExecution]:
    """Run a flow now."""
    await required(FLOW, desk, flow_id)
    return await started(desk, c.ExecuteFlow(id=flow_id), flow_id)


async def started(desk: AtDesk, command: c.Command, flow_id: str) -> Response[StartedExecution]:
    """Submit a command that starts an execution of a flow, and return 202 with it and its address."""
    command_id = await desk.submit(command)
    execution_id = manual_execution_id(command_id)
    execution = await executions.one(desk.reading, execution_id)
    if execution is None:
        # its rows went with its flow, or were pruned: the log remembers longer
        execution = await desk.from_log(command_id, flow_id, execution_id)
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
    wanted = ExecutionFilter(
        flow_id=flow_id,
        status=status,
        execution_type=execution_type,
        since=moment("from", since),
        until=moment("to", until),
    )
    found = await executions.of_flow(desk.reading, wanted, page(limit, offset))
    if found is None:
        raise not_found("flow", flow_id)
    return found


@get("/{flow_id:str}/status", responses=READ)
async def flow_status(desk: AtDesk, flow_id: PathId) -> FlowNow:
    """Return how a flow is doing now, and when it runs next."""
    found = await flows.at_present(desk.reading, flow_id, desk.now, NEXT_RUNS)
    if found is None:
        raise not_found("flow", flow_id)
    return found


@get("/{flow_id:str}/occurrences", responses=READ)
async def flow_occurrences(desk: AtDesk, flow_id: PathId, since: Since = None, until: Until = None) -> OutcomeList:
    """List a flow's occurrences in a range, at most a year: those that passed with what became of them, those to come.

    Without a range: from a day ago, for two.
    """
    since = since or (desk.now - timedelta(days=1)).isoformat()
    start, end = period(desk, since, until, timedelta(days=2))
    found = await calendar.outcomes(desk.reading, flow_id, start, end, desk.now)
    if found is None:
        raise not_found("flow", flow_id)
    return found


@get("/{flow_id:str}/explain", responses=READ)
async def explain_flow(desk: AtDesk, flow_id: PathId, at: At = None) -> Explanation:
    """Say in plain words why a flow ran, or did not, at an instant or last."""
    found = await explain.of_flow(desk.reading, flow_id, moment("at", at), desk.now)
    if found is None:
        raise not_found("flow", flow_id)
    return found


@get("/statistics", responses=READ)
async def statistics_of_all(
    desk: AtDesk, since: Since = None, until: Until = None, flow_id: FromQuery[str | None] = None
) -> Statistics:
    """Count executions by day, of one flow or of all: how they ended, how long they took, what they moved."""
    since = since or (desk.now - timedelta(days=30)).isoformat()
    start, end = period(desk, since, until, timedelta(days=31))
    return await statistics.by_day(desk.reading, start, end, flow_id)


@post("/{flow_id:str}/backfill", status_code=202, responses=WRITE)
async def backfill(desk: AtDesk, flow_id: PathId, data: JSONBody[BackfillInput]) -> BackfillAnswer:
    """Execute past occurrences of a flow's schedule now, so many at a time, whatever its overlap policy."""
    data = await desk.strict(data)
    if isinstance(earlier := await desk.earlier(), c.CreateBackfill):
        return await _backfilled(desk, data, earlier)
    await known(FLOW, desk, flow_id)
    if data.to > desk.now or data.from_ >= data.to or data.to - data.from_ > LONGEST:
        message = f"the range must lie in the past, end after it begins, and be {LONGEST.days} days long at most"
        raise ApiError(422, message, errors=[FieldError(field="to", message=message)])
    found = await calendar.to_fill(desk.reading, flow_id, data.from_, data.to, data.mode)
    if found is None:
        raise ApiError(409, "the flow has no schedule, so it has no occurrences")
    if len(found) > MOST_FILLED:
        raise ApiError(422, f"{len(found)} occurrences are too many at once: at most {MOST_FILLED}. Shorten the range")
    if data.dry_run or not found:
        message = f"{len(found)} occurrences would be executed" if found else "there is nothing to fill"
        return BackfillAnswer(backfill_id=None, flow_id=flow_id, occurrences=found, message=message)
    id_ = desk.new_id("backfill")
    command = c.CreateBackfill(id=id_, flow_id=flow_id, occurrences=found, max_concurrent=data.max_concurrent)
    return await _backfilled(desk, data, command)


async def _backfilled(desk: AtDesk, data: BackfillInput, command: c.CreateBackfill) -> BackfillAnswer:
    """Submit a backfill. A request that comes again fills what the first one did, whatever is missing by now."""
    found = [at for at in command.occurrences if data.from_ <= at < data.to]
    await desk.submit(structs.replace(command, occurrences=found, max_concurrent=data.max_concurrent))
    message = f"{len(found)} occurrences are executed, {data.max_concurrent} at a time"
    return BackfillAnswer(backfill_id=command.id, flow_id=command.flow_id, occurrences=found, message=message)


@post("/{flow_id:str}/backfill/{backfill_id:str}/cancel", status_code=202, responses=WRITE)
async def cancel_backfill(desk: AtDesk, flow_id: PathId, backfill_id: PathId) -> ExecutionList:
    """Stop a backfill: what waits is skipped, what runs is stopped."""
    await required(FLOW, desk, flow_id)
    await desk.submit(c.CancelBackfill(id=backfill_id, flow_id=flow_id))
    return await executions.find(desk.reading, ExecutionFilter(backfill_id=backfill_id), Page(limit=500))


@get("/summary", responses=READ)
async def summary(
    desk: AtDesk,
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
    today = desk.now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    return await flows.summary(desk.reading, today)


@post("/{flow_id:str}/test", status_code=200, responses=READ)
async def dry_run(desk: AtDesk, flow_id: PathId) -> DryRun:
    """Say what running a flow now would do, by the executor's own decisions. Nothing is appended."""
    async with desk.reading.snapshot() as reading:
        found = await dry_runs.of_flow(reading, flow_id)
        next_runs = await flows.next_runs(reading, flow_id, desk.now, NEXT_RUNS)
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
async def clone(desk: AtDesk, flow_id: PathId, data: JSONBody[CloneInput]) -> Response[FlowAnswer]:
    """Make another flow like this one, disabled."""
    if isinstance(earlier := await desk.earlier(), c.CreateFlow):
        original = earlier.spec
    else:
        found = await dry_runs.of_flow(desk.reading, flow_id)
        if found is None:
            raise not_found("flow", flow_id)
        original = found[1]
    fields = {field: getattr(original, field) for field in FlowSpec.__struct_fields__}
    copy_id = desk.new_id("flow")
    spec = FlowSpec(**{**fields, "name": data.name, "enabled": False})
    await desk.submit(c.CreateFlow(id=copy_id, spec=spec))
    return await changed(FLOW, desk, copy_id, 201)


Bulk = Callable[[str], c.Command]
DryRunQuery = FromQuery[Annotated[bool, QueryParameter(description="only say what would happen")]]


@post("/bulk-enable", status_code=200, responses=WRITE)
async def bulk_enable(desk: AtDesk, data: JSONBody[BulkInput], dry_run: DryRunQuery = False) -> BulkAnswer:
    """Enable flows, each answered for itself."""
    return await _bulk(desk, data, lambda id_: c.EnableFlow(id=id_), dry_run=dry_run)


@post("/bulk-disable", status_code=200, responses=WRITE)
async def bulk_disable(desk: AtDesk, data: JSONBody[BulkInput], dry_run: DryRunQuery = False) -> BulkAnswer:
    """Disable flows, each answered for itself."""
    return await _bulk(desk, data, lambda id_: c.DisableFlow(id=id_), dry_run=dry_run)


@post("/bulk-delete", status_code=200, responses=WRITE)
async def bulk_delete(desk: AtDesk, data: JSONBody[BulkInput], dry_run: DryRunQuery = False) -> BulkAnswer:
    """Delete flows with their history, each answered for itself."""
    return await _bulk(desk, data, lambda id_: c.DeleteFlow(id=id_), dry_run=dry_run, check=_not_running)


async def _bulk(
    desk: AtDesk,
    data: BulkInput,
    command: Bulk,
    *,
    dry_run: bool,
    check: Callable[[AtDesk, str], Awaitable[None]] | None = None,
) -> BulkAnswer:
    gate = asyncio.Semaphore(BULK_AT_ONCE)

    async def one(flow_id: str) -> str | None:
        """Return why a flow was not changed, None when it was."""
        async with gate:
            try:
                if not await desk.repeats(flow_id):
                    await known(FLOW, desk, flow_id)
                    if check is not None:
                        await check(desk, flow_id)
                if not dry_run:
                    await desk.submit(command(flow_id), part=flow_id)
            except (ApiError, LogError) as error:
                return str(error)
            except Pending as pending:
                return f"not answered yet; see /api/v1/commands/{pending.command_id}"
        return None

    ids = list(dict.fromkeys(data.flow_ids))
    reasons = await asyncio.gather(*map(one, ids))
    failed = {id_: reason for id_, reason in zip(ids, reasons, strict=True) if reason is not None}
    return BulkAnswer(successful=len(ids) - len(failed), failed=len(failed), errors=failed)


ROUTER = router(
    FLOW,
    [
        *(list_flows, summary, bulk_enable, bulk_disable, bulk_delete),
        *(execute_flow, flow_executions, flow_status, flow_occurrences, dry_run, clone, backfill, cancel_backfill),
        *(explain_flow, statistics_of_all),
    ],
)
