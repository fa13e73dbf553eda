"""Backups that wait and do not go on: for a worker that is not there, or for nobody knows what."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Text, cast, func, select

from api.readmodel.attention import Backlog
from api.readmodel.reader import Reader
from schemas import tables as t
from services.worker.status import WorkerStatus

PATIENCE = timedelta(minutes=30)  # in which something goes on, unless it is stuck


async def find(reader: Reader, workers: Sequence[WorkerStatus] | None, now: datetime) -> Backlog:
    """Return the backups that wait in vain. `workers`: those that are there; None when that cannot be seen."""
    if workers is None:
        return Backlog()
    e, j = t.executions, t.backup_jobs
    labels = cast(j.c.worker_labels, Text).label("labels")  # PostgreSQL compares no JSON
    since = func.min(func.coalesce(j.c.requested_at, j.c.created_at)).label("since")
    waiting = (
        select(j.c.status, labels, since, func.count().label("number"))
        .join(e, e.c.id == j.c.execution_id)
        .where(e.c.completed_at.is_(None), j.c.status.in_(("pending", "queued")))
        .group_by(j.c.status, labels)
    )
    rows = await reader.rows(waiting)
    alone = [row for row in rows if row.status == "queued" and not any(_may_serve(one, row.labels) for one in workers)]
    if alone:
        number = sum(row.number for row in alone)
        first = min(row.since for row in alone)
        return Backlog(labelled=number, since=first) if workers else Backlog(without_worker=number, since=first)
    if not rows or (first := min(row.since for row in rows)) > now - PATIENCE or await _goes_on(reader):
        return Backlog()
    return Backlog(stuck=sum(row.number for row in rows), since=first)


def _may_serve(worker: WorkerStatus, labels: str) -> bool:
    return worker.may_serve(json.loads(labels))


async def _goes_on(reader: Reader) -> bool:
    """Tell whether any backup runs, whosever it is: what waits may wait for it."""
    e, j = t.executions, t.backup_jobs
    runs = select(j.c.id).join(e, e.c.id == j.c.execution_id).where(e.c.completed_at.is_(None), j.c.status == "running")
    return bool(await reader.of_everything().rows(runs.limit(1)))
