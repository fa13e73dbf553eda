"""Starting an execution by hand: what running a flow, retrying and backing up one VM have in common."""

from __future__ import annotations

from litestar import Response

from api.context import Context
from api.readmodel import executions
from api.responses.executions import StartedExecution
from schemas import commands as c
from schemas.ids import manual_execution_id


async def start_execution(context: Context, command: c.Command, flow_id: str) -> Response[StartedExecution]:
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
