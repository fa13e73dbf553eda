"""Backups over all executions, and what a repository holds."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, func, select

from api.readmodel.reader import Page, Reader, consistent, shaped
from api.responses.backups import BackupList, BackupResponse, BackupStats
from schemas import tables as t
from schemas.base import Value
from schemas.definitions import Repository


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
    newest = _where(_select(), wanted).order_by(j.c.created_at.desc(), j.c.id)
    rows, total = await reader.page(newest, page, [j.c.error_message, j.c.first_error, j.c.snapshot_ref])
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
