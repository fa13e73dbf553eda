"""Backups over all executions, what waits and why, and what a repository holds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, case, exists, func, select

from api.readmodel import settings
from api.readmodel.reader import Page, Reader, consistent, shaped
from api.responses.backups import (
    COMPLETED,
    FAILED,
    BackupList,
    BackupResponse,
    BackupStats,
    Copy,
    ListedBackup,
    ListedStatus,
    Queue,
    RunningBackup,
    WaitingBackup,
)
from schemas import tables as t
from schemas.base import Value
from schemas.definitions import Repository
from schemas.events import BackupStatus
from schemas.ids import AD_HOC
from services.executor.admission import Claim, Limits, Obstacle, Slots, obstacle, urgency

MOST = 1_000  # backups that wait, and as many that run, in one response
MOST_EXECUTIONS = 10_000  # executions among which the first to be admitted are looked for
AT_ONCE = 50  # executions whose waiting backups are read together
IN_FLIGHT = ("queued", "running")
MADE: Copy = "full"  # no engine makes any other (`Rules.incremental`); one that does will have to report which it was


class BackupFilter(Value, frozen=True, kw_only=True):
    """Which backups. `status`: one of ours, or of those that a list shows."""

    context_id: str | None = None
    vm_name: str | None = None
    repository_id: str | None = None
    status: BackupStatus | ListedStatus | None = None


def _select() -> Select[Any]:
    j, e = t.backup_jobs, t.executions
    return select(j, e.c.flow_id, e.c.flow_name).join(e, e.c.id == j.c.execution_id)


def _where(statement: Select[*tuple[Any, ...]], wanted: BackupFilter) -> Select[*tuple[Any, ...]]:
    for name in ("context_id", "vm_name", "repository_id"):
        if (value := getattr(wanted, name)) is not None:
            statement = statement.where(t.backup_jobs.c[name] == value)
    if wanted.status is not None:
        statement = statement.where(_is(t.backup_jobs.c.status, wanted.status))
    return statement


def _is(column: ColumnElement[str], status: BackupStatus | ListedStatus) -> ColumnElement[bool]:
    match status:
        case "completed":
            return column.in_(COMPLETED)
        case "failed":
            return column.in_(FAILED)
        case "running":  # as a list shows it
            return column.not_in((*COMPLETED, *FAILED))
        case _:
            return column == status


async def find(reader: Reader, wanted: BackupFilter, page: Page) -> BackupList:
    """Return a page of backups, newest first."""
    j = t.backup_jobs
    newest = _where(_select(), wanted).order_by(j.c.created_at.desc(), j.c.id)
    rows, total = await reader.page(newest, page, [j.c.error_message, j.c.first_error, j.c.snapshot_ref])
    return BackupList(backups=[_listed(row) for row in rows], total=total)


def _listed(row: Mapping[str, Any]) -> ListedBackup:
    result = row["status"]
    status = "completed" if result in COMPLETED else "failed" if result in FAILED else "running"
    return shaped(ListedBackup, {**_described(row), "status": status})


def _described(row: Mapping[str, Any]) -> dict[str, Any]:
    copy = {"type": MADE, "backup_type": MADE, "total_bytes": row["bytes_read"]}
    return {**row, **copy, "backup_id": row["id"], "result": row["status"]}


async def one(reader: Reader, backup_id: str) -> BackupResponse | None:
    """Return a backup, None when there is none."""
    row = await reader.row(_select().where(t.backup_jobs.c.id == backup_id))
    return None if row is None else shaped(BackupResponse, _described(row))


async def stats(reader: Reader, wanted: BackupFilter) -> BackupStats:
    """Return how many backups succeeded, their size in the repository, and when the last one ended."""
    j = t.backup_jobs
    statement = select(
        func.count().label("backup_count"),
        func.coalesce(func.sum(j.c.bytes_transferred), 0).label("total_size_bytes"),
        func.max(j.c.completed_at).label("last_backup_at"),
    ).where(j.c.status == "success")
    row = await reader.row(_where(statement, wanted))
    assert row is not None
    return shaped(BackupStats, {**row, "total_size_bytes": int(row["total_size_bytes"])})


@consistent
async def storage(reader: Reader, repository_id: str) -> tuple[Repository, BackupStats] | None:
    """Return a repository with what backups take of it, None when there is none."""
    row = await reader.row(select(t.repositories).where(t.repositories.c.id == repository_id))
    if row is None:
        return None
    return shaped(Repository, row), await stats(reader, BackupFilter(repository_id=repository_id))


@consistent
async def queue(reader: Reader) -> Queue:
    """Return what waits, in the order in which it is admitted, with its obstacle; what runs; and the limits."""
    r = t.repositories
    limited = await reader.rows(select(r.c.id, r.c.max_concurrent_jobs).where(r.c.max_concurrent_jobs.is_not(None)))
    limits = {row.id: row.max_concurrent_jobs for row in limited}
    total_limit = (await settings.current(reader)).max_concurrent_jobs
    executions = await _with_waiting(reader)
    pending = await _pending(reader, [execution["id"] for execution in executions])
    slots, execution_of = await _slots(reader, {row["context_id"] for row in pending})
    claims = {
        execution["id"]: Claim(
            execution_id=execution["id"],
            flow_id=execution["flow_id"] or AD_HOC,
            repository_id=execution["repository_id"],
            urgency=_urgency(execution),
            limit=execution["max_concurrent_jobs"],
            waiting=(),
        )
        for execution in executions
    }
    waiting: list[WaitingBackup] = []
    for row in pending:
        claim = claims[row["execution_id"]]
        found = obstacle(claim, row["context_id"], slots, Limits(of_repository=limits.get, total=total_limit))
        waiting.append(shaped(WaitingBackup, {**row, "waiting_for": _in_words(found, execution_of)}))
    return Queue(waiting=waiting, running=await _running(reader), limits={"total": total_limit, "repositories": limits})


def _open(*columns: Any) -> Select[*tuple[Any, ...]]:
    """Select from the backups of executions that have not ended."""
    j, e = t.backup_jobs, t.executions
    return select(*columns).select_from(j.join(e, e.c.id == j.c.execution_id)).where(e.c.completed_at.is_(None))


def _about() -> tuple[Any, ...]:
    j, e = t.backup_jobs, t.executions
    return (
        *(j.c.id.label("backup_id"), j.c.execution_id, e.c.flow_id, j.c.context_id, e.c.priority),
        *(j.c.created_at.label("since"), j.c.status, j.c.attempt, j.c.progress_percent),
    )


async def _with_waiting(reader: Reader) -> list[dict[str, Any]]:
    """Return the executions in which something waits, in the order in which they are admitted."""
    j, e = t.backup_jobs, t.executions
    columns = (e.c.id, e.c.flow_id, e.c.repository_id, e.c.execution_type, e.c.started_at, e.c.priority)
    waits = exists().where(j.c.execution_id == e.c.id, j.c.status == "pending")
    found = select(*columns, e.c.max_concurrent_jobs).where(e.c.completed_at.is_(None), waits)
    return sorted(await reader.mappings(found.order_by(e.c.started_at, e.c.id).limit(MOST_EXECUTIONS)), key=_urgency)


async def _pending(reader: Reader, executions: Sequence[str]) -> list[dict[str, Any]]:
    """Return the first backups that wait, in the order of the executions and of their plans."""
    j = t.backup_jobs
    found: list[dict[str, Any]] = []
    for start in range(0, len(executions), AT_ONCE):
        if len(found) >= MOST:
            break
        some = executions[start : start + AT_ONCE]
        rank = case({id_: number for number, id_ in enumerate(some)}, value=j.c.execution_id)
        mine = _open(*_about()).where(j.c.execution_id.in_(some), j.c.status == "pending")
        found += await reader.mappings(mine.order_by(rank, j.c.position).limit(MOST - len(found)))
    return found


async def _running(reader: Reader) -> list[RunningBackup]:
    """Return the first backups that run, in the order in which they were admitted."""
    j, e = t.backup_jobs, t.executions
    statement = _open(*_about(), e.c.started_at, e.c.execution_type).where(j.c.status.in_(IN_FLIGHT))
    rows = await reader.mappings(statement.order_by(e.c.started_at, e.c.id, j.c.position).limit(MOST))
    return [shaped(RunningBackup, row) for row in sorted(rows, key=_urgency)]


async def _slots(reader: Reader, context_ids: Collection[str]) -> tuple[Slots, dict[str, str]]:
    """Return the slots that are taken, with what keeps these VMs busy; and the execution of each such backup."""
    j, e = t.backup_jobs, t.executions
    in_flight = j.c.status.in_(IN_FLIGHT)
    slots = Slots()
    taken = _open(e.c.flow_id, e.c.repository_id, func.count().label("number")).where(in_flight)
    for row in await reader.rows(taken.group_by(e.c.flow_id, e.c.repository_id)):
        slots.total += row.number
        slots.by_flow[row.flow_id or AD_HOC] += row.number
        slots.by_repository[row.repository_id] += row.number
    busy = _open(j.c.context_id, j.c.id, j.c.execution_id).where(in_flight, j.c.context_id.in_(sorted(context_ids)))
    holders = await reader.rows(busy.order_by(j.c.position))
    slots.vms.update({row.context_id: row.id for row in holders})
    return slots, {row.id: row.execution_id for row in holders}


def _urgency(execution: Mapping[str, Any]) -> datetime:
    manual = execution["execution_type"] != "scheduled"
    return urgency(execution["started_at"], manual=manual, priority=execution["priority"])


def _in_words(found: Obstacle | None, execution_of: Mapping[str, str]) -> str:
    match found:
        case None:
            return "the executor: it is next"
        case Obstacle(kind="total"):
            return f"a slot over all flows: {found.taken} of {found.limit} are taken"
        case Obstacle(kind="flow"):
            return f"a slot of its flow: {found.taken} of {found.limit} are taken"
        case Obstacle(kind="repository"):
            return f"a slot of its repository: {found.taken} of {found.limit} are taken"
        case Obstacle():
            return f"its VM, which execution {execution_of[found.holder]} is backing up"
