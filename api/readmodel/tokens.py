"""Tokens of the API, newest first."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from api.readmodel.reader import Page, Reader
from schemas import tables as t

Row = dict[str, Any]


async def find(reader: Reader, page: Page, *, name: str | None) -> tuple[list[Row], int]:
    """Return a page of tokens, and how many there are."""
    c = t.tokens.c
    statement = select(t.tokens).order_by(c.created_at.desc(), c.id)
    if name is not None:
        statement = statement.where(c.name == name)
    rows, total = await reader.page(statement, page)
    return [dict(row) for row in rows], total


async def one(reader: Reader, token_id: str) -> Row | None:
    """Return a token, None when there is none."""
    return await reader.row(select(t.tokens).where(t.tokens.c.id == token_id))
