"""Starting an execution by hand: what running a flow, retrying and backing up one VM have in common."""

from __future__ import annotations

from typing import TypeVar

from litestar import Response

from api.context import Context
from api.readmodel import executions
from api.responses.executions import ExecutionResponse, StartedExecution
from schemas import commands as c
from schemas.ids import manual_execution_id

E = TypeVar("E", bound=StartedExecution)


async def start_execution(context: Context, command: c.Command, flow_id: str) -> Response[StartedExecution]:
    """Submit a command that starts an execution of a flow, and return 202 with it and its address."""
    return accepted(await started(context, command, flow_id))


async def started(context: Context, command: c.Command, flow_id: str) -> StartedExecution:
    """Submit a command that starts an execution of a flow, and return that: it has begun, or waits for its turn."""
    command_id = await context.submit(command)
    execution_id = manual_execution_id(command_id)
    execution = await executions.one(context.reader, execution_id)
    if execution is None:
        # its rows went with its flow, or were pruned: the log remembers longer
        execution = await context.from_log(command_id, flow_id, execution_id)
    values = {field: getattr(execution, field) for field in execution.__struct_fields__}
    return StartedExecution(**values, execution_id=execution_id, message=in_words(execution))


def accepted(body: E) -> Response[E]:
    """Return 202 with an execution and its address."""
    return Response(body, status_code=202, headers={"Location": f"/api/v1/executions/{body.execution_id}"})


def in_words(execution: ExecutionResponse) -> str:
    """Return how far an execution is: what of it has started, and what waits, and for what."""
    if execution.waiting_for is not None:
        return f"waiting for {execution.waiting_for}"
    if execution.started_at is None:
        return f"not started: {execution.error_message}"
    if not execution.jobs_created:
        return "nothing to back up"
    begun = execution.jobs_running + execution.jobs_completed + execution.jobs_failed
    waits = [
        f"{_backups(number)} {'waits' if number == 1 else 'wait'} for {what}"
        for number, what in ((execution.jobs_queued, "a worker"), (execution.jobs_pending, "a slot"))
        if number
    ]
    return ", ".join([f"started {_backups(begun)}"] * bool(begun or not waits) + waits)


def _backups(number: int) -> str:
    return f"{number} {'backup' if number == 1 else 'backups'}"
