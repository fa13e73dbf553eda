"""Backups over all executions, what waits and why, and what a repository holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select

from api.readmodel import settings
from api.readmodel.reader import Page, Reader, consistent, shaped
from api.responses.backups import BackupList, BackupResponse, BackupStats, Queue, RunningBackup, WaitingBackup
from schemas import tables as t
from schemas.base import Value
from schemas.definitions import Repository
from schemas.events import PlannedBackup
from schemas.ids import AD_HOC
from services.executor.admission import Claim, Limits, Obstacle, Slots, obstacle, urgency

MOST_WAITING = 1000  # shown at once


class BackupFilter(Value, frozen=True, kw_only=True):
    """Which backups."""

    context_id: str | None = None
    vm_name: str | None = None
    repository_id: str | None = None
    status: str | None = None


def _select() -> Select[Any]:
    j, e = t.backup_jobs, t.executions
    return select(j, e.c.flow_id, e.c.flow_name).join(e, e.c.id == j.c.execution_id)


def _where(statement: Select[*tuple[Any, ...]], wanted: BackupFilter) -> Select[*tuple[Any, ...]]:
    for name in ("context_id", "vm_name", "repository_id", "status"):
        if (value := getattr(wanted, name)) is not None:
            statement = statement.where(t.backup_jobs.c[name] == value)
    return statement


async def find(reader: Reader, wanted: BackupFilter, page: Page) -> BackupList:
    """Return a page of backups, newest first."""
    j = t.backup_jobs
    rows, total = await reader.page(_where(_select(), wanted).order_by(j.c.created_at.desc(), j.c.id), page)
    return BackupList(backups=[shaped(BackupResponse, row) for row in rows], total=total)


async def one(reader: Reader, backup_id: str) -> BackupResponse | None:
    """Return a backup, None when there is none."""
    row = await reader.row(_select().where(t.backup_jobs.c.id == backup_id))
    return None if row is None else shaped(BackupResponse, row)


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
    """Return what waits, in the order in which it is admitted, with what it waits for; what runs; and the limits."""
    j, e, r = t.backup_jobs, t.executions, t.repositories
    executions = await reader.mappings(select(e).where(e.c.completed_at.is_(None)).order_by(e.c.started_at, e.c.id))
    executions.sort(key=_urgency)
    rank = {execution["id"]: number for number, execution in enumerate(executions)}
    about = (
        *(j.c.id.label("backup_id"), j.c.execution_id, e.c.flow_id, j.c.context_id, e.c.priority),
        *(j.c.created_at.label("since"), j.c.status, j.c.attempt, j.c.progress_percent, e.c.repository_id),
    )
    joined = select(*about).join(e, e.c.id == j.c.execution_id).where(e.c.completed_at.is_(None))
    running = await reader.mappings(joined.where(j.c.status.in_(("queued", "running"))).order_by(j.c.position))
    limited = await reader.mappings(select(r.c.id, r.c.max_concurrent_jobs).where(r.c.max_concurrent_jobs.is_not(None)))
    limits = {row["id"]: row["max_concurrent_jobs"] for row in limited}
    total_limit = (await settings.current(reader)).max_concurrent_jobs
    slots = _slots(running)
    execution_of = {row["backup_id"]: row["execution_id"] for row in running}
    waiting: list[WaitingBackup] = []
    for execution in executions:
        if len(waiting) >= MOST_WAITING:
            break
        claim = Claim(
            execution_id=execution["id"],
            flow_id=execution["flow_id"] or AD_HOC,
            repository_id=execution["repository_id"],
            urgency=_urgency(execution),
            limit=execution["max_concurrent_jobs"],
            waiting=(),
        )
        mine = joined.where(j.c.execution_id == execution["id"], j.c.status == "pending").order_by(j.c.position)
        for row in await reader.mappings(mine.limit(MOST_WAITING - len(waiting))):
            found = obstacle(claim, row["context_id"], slots, Limits(of_repository=limits.get, total=total_limit))
            waiting.append(shaped(WaitingBackup, {**row, "waiting_for": _in_words(found, execution_of)}))
    return Queue(
        waiting=waiting,
        running=[shaped(RunningBackup, row) for row in sorted(running, key=lambda row: rank[row["execution_id"]])],
        limits={"total": total_limit, "repositories": limits},
    )


def _slots(running: Iterable[Mapping[str, Any]]) -> Slots:
    slots = Slots()
    for row in running:
        backup = PlannedBackup(backup_id=row["backup_id"], context_id=row["context_id"], vm_name="")
        slots.add(row["flow_id"] or AD_HOC, row["repository_id"], backup)
    return slots


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
