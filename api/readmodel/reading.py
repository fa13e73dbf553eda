"""What every question shares: the reader, pages, filters, and the wait until the tables have caught up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Row, Select, Table, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas import tables as t
from schemas.base import Value
from schemas.definitions import Exclusion

POLL = 0.005  # seconds between looks at the position, only while somebody waits


class Page(Value, frozen=True, kw_only=True):
    """Which part of a list: `limit` rows after the first `offset`."""

    limit: int = 50
    offset: int = 0


class Reading:
    """Runs questions, and knows how far the projection is."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._watch: asyncio.Task[None] | None = None

    async def rows(self, statement: Select[*tuple[Any, ...]]) -> Sequence[Row[Any]]:
        async with self._engine.connect() as connection:
            return (await connection.execute(statement)).all()

    async def mappings(self, statement: Select[*tuple[Any, ...]]) -> list[dict[str, Any]]:
        async with self._engine.connect() as connection:
            return [dict(row) for row in (await connection.execute(statement)).mappings()]

    async def row(self, statement: Select[*tuple[Any, ...]]) -> dict[str, Any] | None:
        async with self._engine.connect() as connection:
            row = (await connection.execute(statement)).mappings().one_or_none()
        return None if row is None else dict(row)

    async def page(self, statement: Select[*tuple[Any, ...]], page: Page) -> tuple[list[dict[str, Any]], int]:
        """Return one page of a statement's rows, and how many there are in all."""
        async with self._engine.connect() as connection:
            count = select(func.count()).select_from(statement.order_by(None).subquery())
            total = (await connection.execute(count)).scalar_one()
            limited = statement.limit(page.limit).offset(page.offset)
            rows = (await connection.execute(limited)).mappings().all()
        return [dict(row) for row in rows], total

    async def position(self) -> int:
        """Return the last sequence of the log that the tables hold."""
        rows = await self.rows(select(t.projection.c.position))
        return int(rows[0].position) if rows else 0

    async def reached(self, sequence: int, *, patience: float) -> bool:
        """Wait until the tables hold the log up to a sequence; tell whether they do within `patience` seconds."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((sequence, future))
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._watch_position())
        try:
            async with asyncio.timeout(patience):
                await future
        except TimeoutError:
            return False
        return True

    async def _watch_position(self) -> None:
        while self._waiters:
            with suppress(SQLAlchemyError):  # the wait's own patience ends it
                position = await self.position()
                for sequence, future in self._waiters:
                    if sequence <= position and not future.done():
                        future.set_result(None)
            self._waiters = [waiter for waiter in self._waiters if not waiter[1].done()]
            await asyncio.sleep(POLL)

    def seconds_between(self, begin: ColumnElement[Any], end: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return the seconds from one instant to another, in the database's own words."""
        if self._engine.dialect.name == "sqlite":
            return (func.julianday(end) - func.julianday(begin)) * 86_400.0
        return func.extract("epoch", end - begin)

    def day_of(self, at: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return the UTC day of an instant, as `2026-10-09`."""
        if self._engine.dialect.name == "sqlite":
            return func.date(at)
        return func.to_char(func.timezone("UTC", at), "YYYY-MM-DD")

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
        await self._engine.dispose()


S = TypeVar("S", bound=Value)


def shaped(shape: type[S], row: Mapping[str, Any]) -> S:
    """Return a row as an answer: the columns that its fields name."""
    fields = shape.__struct_fields__
    return shape(**{field: _VALUES[field](row[field]) if field in _VALUES else row[field] for field in fields})


# columns of JSON that hold shapes
_VALUES: dict[str, Callable[[Any], Any]] = {
    "exclusions": lambda value: msgspec.convert(value, list[Exclusion]),
    "inclusions": lambda value: msgspec.convert(value, list[datetime]),
}


def order(table: Table, sort: str | None) -> list[ColumnElement[Any]]:
    """Return an ORDER BY: newest first, or by a column, descending with a `-` before it."""
    if sort is None:
        return [table.c.created_at.desc(), table.c.id.desc()]
    column = table.c[sort.removeprefix("-")]
    return [column.desc(), table.c.id.desc()] if sort.startswith("-") else [column.asc(), table.c.id.asc()]


def labelled(column: ColumnElement[Any], label: str) -> ColumnElement[bool]:
    """Return a filter on a label, `key:value`."""
    key, _, value = label.partition(":")
    found: ColumnElement[bool] = column[key].as_string() == value
    return found


def containing(column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    """Return a filter on a part of a text, whatever its case."""
    return column.icontains(text, autoescape=True)
