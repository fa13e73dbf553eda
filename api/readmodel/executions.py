"""Executions and their jobs."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Select, Text, cast, func, select

from api.readmodel.reader import Page, Reader, consistent, labelled, shaped
from api.responses.executions import ExecutionList, ExecutionResponse, JobList, JobResponse
from bus.envelope import Entry, Stored
from bus.log import Log
from schemas import tables as t
from schemas.base import Value
from schemas.events import ExcludedVm, ExecutionEvent, FlowCompleted, FlowSkipped
from schemas.ids import instant
from services.recorder.known import KnownFlow, KnownRows
from services.recorder.projection import project

_COLUMN_OF = {
    "pending": "jobs_pending",
    "queued": "jobs_queued",
    "running": "jobs_running",
    "success": "jobs_completed",
    "error": "jobs_failed",
    "skipped": "jobs_skipped",
    "cancelled": "jobs_skipped",
}
_NONE_OPEN = {"jobs_pending": 0, "jobs_queued": 0, "jobs_running": 0}
_NONE = _NONE_OPEN | {"jobs_completed": 0, "jobs_failed": 0, "jobs_skipped": 0, "bytes_transferred": 0}


IN_A_LIST, ALONE = 40, 10_000  # jobs, and VMs that were left out, that are named of one execution
MOST_RUNNING = 10_000  # executions among which those are looked for that others wait for
_EACH = 100  # characters that one VM that was left out takes


class ExecutionFilter(Value, frozen=True, kw_only=True):
    """Which executions; `label` is one of their flows. Times bound `created_at`: when they began, or began to wait."""

    flow_id: str | None = None
    backfill_id: str | None = None
    status: str | None = None
    execution_type: str | None = None
    label: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@consistent
async def of_flow(reader: Reader, wanted: ExecutionFilter, page: Page) -> ExecutionList | None:
    """Return a page of a flow's executions, newest first; None when there is no such flow."""
    f = t.protection_flows
    if not await reader.rows(select(f.c.id).where(f.c.id == wanted.flow_id)):
        return None
    return await find(reader, wanted, page)


@consistent
async def find(reader: Reader, wanted: ExecutionFilter, page: Page) -> ExecutionList:
    """Return a page of executions, newest first."""
    e = t.executions
    statement = _select(IN_A_LIST).order_by(e.c.created_at.desc(), e.c.id.desc())
    for column, value in (
        (e.c.flow_id, wanted.flow_id),
        (e.c.status, wanted.status),
        (e.c.backfill_id, wanted.backfill_id),
    ):
        if value is not None:
            statement = statement.where(column == value)
    if wanted.execution_type is not None:
        statement = statement.where(e.c.execution_type == wanted.execution_type)
    if wanted.label is not None:
        f = t.protection_flows
        statement = statement.where(e.c.flow_id.in_(select(f.c.id).where(labelled(f.c.labels, wanted.label))))
    if wanted.since is not None:
        statement = statement.where(e.c.created_at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(e.c.created_at < wanted.until)
    rows, total = await reader.page(statement, page, [e.c.error_message])
    return ExecutionList(executions=await _responses(reader, rows, IN_A_LIST), total=total)


@consistent
async def one(reader: Reader, execution_id: str) -> ExecutionResponse | None:
    """Return an execution, None when there is none."""
    row = await reader.row(_select(ALONE).where(t.executions.c.id == execution_id))
    return None if row is None else (await _responses(reader, [row], ALONE))[0]


def _select(most: int) -> Select[Any]:
    """Select executions, with the beginning of what they left out: it, and their jobs, may be thousands of VMs."""
    columns = [column for column in t.executions.c if column.name not in {"excluded", "created_job_ids"}]
    return select(*columns, func.substr(cast(t.executions.c.excluded, Text), 1, _EACH * most).label("excluded"))


async def outline(reader: Reader, execution_id: str) -> dict[str, Any] | None:
    """Return whose an execution is, and when it began and ended; None when there is none."""
    e = t.executions
    return await reader.row(select(e.c.flow_id, e.c.started_at, e.c.completed_at).where(e.c.id == execution_id))


@consistent
async def jobs(reader: Reader, execution_id: str, page: Page) -> JobList | None:
    """Return a page of an execution's jobs, in the order of its plan; None when there is no such execution."""
    if not await reader.rows(select(t.executions.c.id).where(t.executions.c.id == execution_id)):
        return None
    j = t.backup_jobs
    statement = select(j).where(j.c.execution_id == execution_id).order_by(j.c.position)
    rows, total = await reader.page(statement, page, [j.c.error_message, j.c.first_error, j.c.snapshot_ref])
    return JobList(jobs=[shaped(JobResponse, row) for row in rows], total=total)


async def running(reader: Reader, flow_id: str) -> list[str]:
    """Return the executions of a flow that run, the newest first; of very many, the first hundred."""
    e = t.executions
    statement = select(e.c.id).where(e.c.flow_id == flow_id, e.c.status == "running").order_by(e.c.started_at.desc())
    return [row.id for row in await reader.rows(statement.limit(100))]


async def running_by_flow(reader: Reader, flow_ids: Sequence[str]) -> dict[str, str]:
    """Return one execution that runs of each of some flows that has any."""
    e = t.executions
    statement = select(e.c.flow_id, func.min(e.c.id).label("id")).where(
        e.c.flow_id.in_(flow_ids), e.c.status == "running"
    )
    return {row.flow_id: row.id for row in await reader.rows(statement.group_by(e.c.flow_id))}


async def unsuccessful(reader: Reader, execution_id: str) -> list[str]:
    """Return the VMs of an execution whose backup did not succeed, in the plan's order."""
    j = t.backup_jobs
    statement = select(j.c.context_id).where(j.c.execution_id == execution_id, j.c.status != "success")
    return [row.context_id for row in await reader.rows(statement.order_by(j.c.position))]


async def _responses(reader: Reader, rows: Sequence[Mapping[str, Any]], most: int) -> list[ExecutionResponse]:
    """Return responses with the first of their jobs' ids; the jobs of those that still run are counted now.

    Those that wait for their turn have what they wait for.
    """
    job_ids = await _job_ids(reader, [row["id"] for row in rows], most)
    counted = await _counts(reader, [row["id"] for row in rows if row["completed_at"] is None])
    waiting_for = await turns(reader, {row["flow_id"] for row in rows if row["status"] == "pending"})
    return [
        _response(
            {**row, **counted.get(row["id"], {})},
            job_ids.get(row["id"], []),
            _beginning(row["excluded"])[:most],
            waiting_for[row["flow_id"]] if row["status"] == "pending" else None,
        )
        for row in rows
    ]


async def turns(reader: Reader, flow_ids: Collection[str]) -> dict[str, str]:
    """Return, for each of some flows, what its executions that are pending wait for."""
    e = t.executions
    found = dict.fromkeys(flow_ids, "the executor: it is next")
    if found:
        running = select(e.c.flow_id, e.c.id, e.c.started_at).where(
            e.c.flow_id.in_(sorted(flow_ids)), e.c.status == "running", e.c.backfill_id.is_(None)
        )
        for row in await reader.rows(running.order_by(e.c.started_at.desc(), e.c.id.desc()).limit(MOST_RUNNING)):
            found[row.flow_id] = f"execution {row.id} of this flow, which began at {instant(row.started_at)}, to end"
    return found


def _beginning(text: str) -> list[ExcludedVm]:
    """Return the items of a list in JSON, of which the end may be cut off."""
    items: list[ExcludedVm] = []
    end = 1
    with suppress(json.JSONDecodeError):  # at the end, or where it is cut off
        while True:
            item, end = _decoder.raw_decode(text, end)
            items.append(msgspec.convert(item, ExcludedVm))
            end += len(",")
    return items


_decoder = json.JSONDecoder()


def _response(
    row: Mapping[str, Any], job_ids: list[str], excluded: list[ExcludedVm], waiting_for: str | None = None
) -> ExecutionResponse:
    started_at, completed_at = row["started_at"], row["completed_at"]
    taken = (completed_at - started_at).total_seconds() if started_at and completed_at else None
    values = {
        **_NONE_OPEN,
        **row,
        "waiting_for": waiting_for,
        "execution_time_seconds": None if taken is None else max(0.0, taken),
        "vms_processed": row["jobs_completed"] + row["jobs_failed"],
        "created_job_ids": job_ids,
        "excluded": excluded,
    }
    return shaped(ExecutionResponse, values)


async def from_log(log: Log, flow_id: str, execution_id: str, *, after: int) -> ExecutionResponse | None:
    """Return an execution whose rows went with its flow, or were pruned, as the log has it after a sequence.

    None when the log has let go of it too.
    """
    about: list[Entry] = []
    subjects = [f"flow.{event}.{flow_id}" for event in ("buffered", "started", "planned", "skipped", "completed")]
    async with aclosing(log.follow(subjects, after=after)) as pages:
        async for batch in pages:
            found = [one for one in batch.entries if isinstance(one, Stored) and _execution_of(one) == execution_id]
            about += found
            if batch.caught_up or any(isinstance(one.envelope.data, FlowSkipped | FlowCompleted) for one in found):
                break
    known = KnownRows()
    known.flows = {flow_id: KnownFlow(armed_at=datetime.min.replace(tzinfo=UTC))}
    known.identities = {f"flow/{flow_id}": 1}
    changes = project(about, known)
    row = changes.new_executions.get(execution_id)
    if row is None:
        return None
    excluded = msgspec.convert(row["excluded"][:ALONE], list[ExcludedVm])
    return _response(row, [backup_id for _, backup_id in changes.new_jobs][:ALONE], excluded)


def _execution_of(entry: Stored) -> str | None:
    data = entry.envelope.data
    return data.execution_id if isinstance(data, ExecutionEvent) else None


async def _job_ids(reader: Reader, execution_ids: list[str], most: int) -> dict[str, list[str]]:
    if not execution_ids:
        return {}
    j = t.backup_jobs
    statement = select(j.c.execution_id, j.c.id).where(j.c.execution_id.in_(execution_ids)).order_by(j.c.position)
    if len(execution_ids) > 1:
        statement = statement.where(j.c.position < most)  # the first part of a plan is longer than that
    found: dict[str, list[str]] = {}
    for row in await reader.rows(statement.limit(most * len(execution_ids))):
        found.setdefault(row.execution_id, []).append(row.id)
    return found


async def _counts(reader: Reader, execution_ids: list[str]) -> dict[str, dict[str, int]]:
    """Count jobs and sum bytes of executions that run."""
    if not execution_ids:
        return {}
    j = t.backup_jobs
    statement = (
        select(
            j.c.execution_id,
            j.c.status,
            func.count().label("number"),
            func.sum(j.c.bytes_transferred).label("size"),
        )
        .where(j.c.execution_id.in_(execution_ids))
        .group_by(j.c.execution_id, j.c.status)
    )
    counts: dict[str, dict[str, int]] = {}
    for found in await reader.rows(statement):
        row = counts.setdefault(found.execution_id, dict(_NONE))
        row["bytes_transferred"] += int(found.size)
        row[_COLUMN_OF[found.status]] += found.number
    return counts
