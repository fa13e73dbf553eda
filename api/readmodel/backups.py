"""Backups over all executions, and what a repository holds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select

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
)
from schemas import tables as t
from schemas.base import Value
from schemas.definitions import Repository
from schemas.events import BackupStatus

MADE: Copy = "full"  # no engine makes any other (`Rules.incremental`); one that does will have to report which it was


class BackupFilter(Value, frozen=True, kw_only=True):
    """Which backups. `status`: one of ours, or of those that a list shows; times bound `created_at`, when it began."""

    context_id: str | None = None
    vm_name: str | None = None
    repository_id: str | None = None
    flow_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    status: BackupStatus | ListedStatus | None = None


def _select() -> Select[Any]:
    j, e = t.backup_jobs, t.executions
    return select(j, e.c.flow_id, e.c.flow_name).join(e, e.c.id == j.c.execution_id)


def _where(statement: Select[*tuple[Any, ...]], wanted: BackupFilter) -> Select[*tuple[Any, ...]]:
    for name in ("context_id", "vm_name", "repository_id"):
        if (value := getattr(wanted, name)) is not None:
            statement = statement.where(t.backup_jobs.c[name] == value)
    if wanted.flow_id is not None:
        flows_own = select(t.executions.c.id).where(t.executions.c.flow_id == wanted.flow_id)
        statement = statement.where(t.backup_jobs.c.execution_id.in_(flows_own))
    if wanted.since is not None:
        statement = statement.where(t.backup_jobs.c.created_at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(t.backup_jobs.c.created_at < wanted.until)
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
