"""Repositories, with how many good backups each has."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select

from api.readmodel import definitions
from api.readmodel.definitions import DefinitionFilter
from api.readmodel.reader import Page, Reader, consistent
from schemas import tables as t
from schemas.definitions import Repository


@consistent
async def find(
    reader: Reader, wanted: DefinitionFilter, sort: str | None, page: Page
) -> tuple[list[Repository], dict[str, int], int]:
    """Return a page of repositories, how many good backups they have by id, and how many there are in all."""
    found, total = await definitions.find(reader, t.repositories, Repository, wanted, sort, page)
    return found, await _counts(reader, [one.id for one in found]), total


@consistent
async def one(reader: Reader, repository_id: str) -> tuple[Repository, int] | None:
    """Return a repository and how many good backups it has, None when there is none."""
    found = await definitions.one(reader, t.repositories, Repository, repository_id)
    if found is None:
        return None
    return found, (await _counts(reader, [repository_id])).get(repository_id, 0)


async def places(reader: Reader, most: int) -> list[tuple[str, str]]:
    """Return the engines and locations of the first repositories."""
    r = t.repositories
    rows = await reader.rows(select(r.c.type, r.c.location).order_by(r.c.created_at.desc(), r.c.id).limit(most))
    return [(row.type, row.location) for row in rows]


async def _counts(reader: Reader, ids: Sequence[str]) -> dict[str, int]:
    j = t.backup_jobs
    good = select(j.c.repository_id, func.count().label("number")).where(j.c.repository_id.in_(ids))
    rows = await reader.rows(good.where(j.c.status == "success").group_by(j.c.repository_id))
    return {row.repository_id: row.number for row in rows}
