"""Routes of executions over all flows, and of commands."""

from __future__ import annotations

from litestar import Router, get
from litestar.params import FromQuery

from api.answers import CommandAnswer, ExecutionAnswer, ExecutionList, JobList
from api.desk import AtDesk
from api.problems import not_found
from api.readmodel import definitions, executions
from api.readmodel.executions import ExecutionFilter
from api.routes.flows import Since, Until
from api.routes.parameters import READ, Limit, Offset, PathId, page
from schemas.events import ExecutionStatus, ExecutionType


@get("/", responses=READ)
async def list_executions(
    desk: AtDesk,
    limit: Limit = 50,
    offset: Offset = 0,
    flow_id: FromQuery[str | None] = None,
    status: FromQuery[ExecutionStatus | None] = None,
    execution_type: FromQuery[ExecutionType | None] = None,
    since: Since = None,
    until: Until = None,
) -> ExecutionList:
    """List executions over all flows, newest first."""
    wanted = ExecutionFilter(flow_id=flow_id, status=status, execution_type=execution_type, since=since, until=until)
    return await executions.find(desk.reading, wanted, page(limit, offset))


@get("/{execution_id:str}", responses=READ)
async def get_execution(desk: AtDesk, execution_id: PathId) -> ExecutionAnswer:
    """Return one execution."""
    return await _known(desk, execution_id)


@get("/{execution_id:str}/jobs", responses=READ)
async def execution_jobs(desk: AtDesk, execution_id: PathId, limit: Limit = 50, offset: Offset = 0) -> JobList:
    """List an execution's backups, one for each VM, in the order of its plan."""
    await _known(desk, execution_id)
    return await executions.jobs(desk.reading, execution_id, page(limit, offset))


async def _known(desk: AtDesk, execution_id: str) -> ExecutionAnswer:
    found = await executions.one(desk.reading, execution_id)
    if found is None:
        raise not_found("execution", execution_id)
    return found


@get("/commands/{command_id:str}", responses=READ, tags=["Commands"])
async def get_command(desk: AtDesk, command_id: PathId) -> CommandAnswer:
    """Return a command and what became of it."""
    found = await definitions.command(desk.reading, command_id)
    if found is None:
        raise not_found("command", command_id)
    return found


ROUTER = Router(
    path="/executions", route_handlers=[list_executions, get_execution, execution_jobs], tags=["Executions"]
)
