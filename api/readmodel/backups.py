"""Backups over all executions, what waits and why, and what a repository holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, func, select

from api.answers import BackupAnswer, BackupList, BackupStats, Queue, RunningBackup, WaitingBackup
from api.readmodel.reading import Page, Reading, shaped
from schemas import tables as t
from schemas.base import Value

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


async def find(reading: Reading, wanted: BackupFilter, page: Page) -> BackupList:
    """Return a page of backups, newest first."""
    j = t.backup_jobs
    rows, total = await reading.page(_where(_select(), wanted).order_by(j.c.created_at.desc(), j.c.id), page)
    return BackupList(backups=[shaped(BackupAnswer, row) for row in rows], total=total)


async def one(reading: Reading, backup_id: str) -> BackupAnswer | None:
    """Return a backup, None when there is none."""
    row = await reading.row(_select().where(t.backup_jobs.c.id == backup_id))
    return None if row is None else shaped(BackupAnswer, row)


async def stats(reading: Reading, wanted: BackupFilter) -> BackupStats:
    """Return how many backups succeeded, their size in the repository, and when the last one ended."""
    j = t.backup_jobs
    statement = select(
        func.count().label("backup_count"),
        func.coalesce(func.sum(j.c.bytes_transferred), 0).label("total_size_bytes"),
        func.max(j.c.completed_at).label("last_backup_at"),
    ).where(j.c.status == "success")
    row = await reading.row(_where(statement, wanted))
    assert row is not None
    return shaped(BackupStats, {**row, "total_size_bytes": int(row["total_size_bytes"])})


async def queue(reading: Reading) -> Queue:
    """Return what waits, by priority and age, with what it waits for, and what runs."""
    j, e = t.backup_jobs, t.executions
    columns = (
        j.c.id.label("backup_id"),
        j.c.execution_id,
        e.c.flow_id,
        j.c.context_id,
        e.c.priority,
        j.c.created_at.label("since"),
        j.c.status,
        j.c.attempt,
        j.c.progress_percent,
        e.c.repository_id,
        e.c.max_concurrent_jobs,
    )
    joined = select(*columns).join(e, e.c.id == j.c.execution_id).where(e.c.completed_at.is_(None))
    order = (e.c.priority.desc(), e.c.started_at, e.c.id, j.c.position)
    running = await reading.mappings(joined.where(j.c.status.in_(("queued", "running"))).order_by(*order))
    waiting = await reading.mappings(joined.where(j.c.status == "pending").order_by(*order).limit(MOST_WAITING))
    r = t.repositories
    limited = await reading.mappings(
        select(r.c.id, r.c.max_concurrent_jobs).where(r.c.max_concurrent_jobs.is_not(None))
    )
    limits = {row["id"]: row["max_concurrent_jobs"] for row in limited}
    causes = _Causes(running, limits)
    return Queue(
        waiting=[shaped(WaitingBackup, {**row, "waiting_for": causes.of(row)}) for row in waiting],
        running=[shaped(RunningBackup, row) for row in running],
        limits={"repositories": limits},
    )


class _Causes:
    """What a backup waits for, by the executor's own order of checks."""

    def __init__(self, running: list[dict[str, Any]], limits: Mapping[str, int]) -> None:
        self._limits = limits
        self._flows: dict[str, int] = {}
        self._repositories: dict[str, int] = {}
        self._vms: dict[str, str] = {}
        for row in running:
            self._flows[row["flow_id"]] = self._flows.get(row["flow_id"], 0) + 1
            self._repositories[row["repository_id"]] = self._repositories.get(row["repository_id"], 0) + 1
            self._vms[row["context_id"]] = row["execution_id"]

    def of(self, row: Mapping[str, Any]) -> str:
        flow = self._flows.get(row["flow_id"], 0)
        if row["max_concurrent_jobs"] is not None and flow >= row["max_concurrent_jobs"]:
            return f"a slot of its flow: {flow} of {row['max_concurrent_jobs']} are taken"
        repository, limit = self._repositories.get(row["repository_id"], 0), self._limits.get(row["repository_id"])
        if limit is not None and repository >= limit:
            return f"a slot of its repository: {repository} of {limit} are taken"
        if row["context_id"] in self._vms:
            return f"its VM, which execution {self._vms[row['context_id']]} is backing up"
        return "the executor, or a slot over all flows"
