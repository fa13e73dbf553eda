"""Enrolled workers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from api.readmodel.reader import Reader
from schemas import tables as t

MOST = 1000  # that are shown
Row = dict[str, Any]


async def find(reader: Reader) -> list[Row]:
    """Return the workers that are or were enrolled, or may be, newest first."""
    c = t.workers.c
    return await reader.mappings(select(t.workers).order_by(c.created_at.desc(), c.id).limit(MOST))


async def one(reader: Reader, worker_id: str) -> Row | None:
    """Return a worker, None when there is none."""
    return await reader.row(select(t.workers).where(t.workers.c.id == worker_id))
