"""What every query shares: the reader, pages, filters, and the wait until the tables have caught up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec
from sqlalchemy import JSON, BigInteger, ColumnElement, Integer, Row, Select, Table, Text, cast, func, literal, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from api.identity import Identity
from api.visibility import Scope, scope_of
from schemas import tables as t
from schemas.base import Value
from schemas.definitions import Exclusion
from services import database

POLL = 0.005  # seconds between reads of the position, only while somebody waits


LARGEST = 8 * 1024 * 1024  # bytes of texts and JSON that are read for one response


class TooMuch(Exception):
    """A request is about more than one response is made for."""

    def __init__(self, what: str, most: str) -> None:
        super().__init__(f"{what} would be too much for one response: at most {most}")


class Page(Value, frozen=True, kw_only=True):
    """Which part of a list: `limit` rows after the first `offset`."""

    limit: int = 50
    offset: int = 0


class Reader:
    """Runs queries. On `connection` all results are of one moment; without, each is of its own.

    With a `scope` every query, whatever it is, finds only what belongs to that; without, everything.
    """

    def __init__(
        self, engine: AsyncEngine, connection: AsyncConnection | None = None, scope: Scope | None = None
    ) -> None:
        self._engine = engine
        self._connection = connection
        self._scope = scope

    @property
    def finds_everything(self) -> bool:
        """Whether nothing is left out, as there is no scope."""
        return self._scope is None

    def of_everything(self) -> Reader:
        """Return a reader, of the same moment, that finds everything: for counting what is not to be shown."""
        return self if self._scope is None else Reader(self._engine, self._connection)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Reader]:
        """Give a reader whose results are all of one moment, whatever is written meanwhile."""
        if self._connection is not None:
            yield self
        else:
            async with database.snapshot(self._engine) as connection:
                yield Reader(self._engine, connection, self._scope)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        if self._connection is not None:
            yield self._connection
        else:
            async with self._engine.connect() as connection:
                yield connection

    async def rows(self, statement: Select[*tuple[Any, ...]]) -> Sequence[Row[Any]]:
        """Return all rows of a statement: whatever is read is read here."""
        if self._scope is not None:
            statement = self._scope.over(statement, self._engine.dialect.name)
        async with self._connected() as connection:
            return (await connection.execute(statement)).all()

    async def mappings(self, statement: Select[*tuple[Any, ...]]) -> list[dict[str, Any]]:
        return [dict(row._mapping) for row in await self.rows(statement)]  # noqa: SLF001  SQLAlchemy's public name

    async def row(self, statement: Select[*tuple[Any, ...]]) -> dict[str, Any] | None:
        rows = await self.mappings(statement)
        assert len(rows) <= 1, "a statement for one row has several"
        return rows[0] if rows else None

    async def page(
        self, statement: Select[*tuple[Any, ...]], page: Page, large: Sequence[ColumnElement[Any]] = ()
    ) -> tuple[list[dict[str, Any]], int]:
        """Return one page of a statement's rows, and how many there are in all.

        `large`: the columns that may hold much. Raises `TooMuch`.
        """
        async with self.snapshot() as reader:
            count = select(func.count()).select_from(statement.order_by(None).subquery())
            total = (await reader.rows(count))[0][0]
            if large:
                size = size_of(*large).label("size")
                sizes = statement.with_only_columns(size, maintain_column_froms=True)
                shown = sizes.limit(page.limit).offset(page.offset).subquery()
                await reader.check(select(func.sum(shown.c.size)), "this page")
            rows = await reader.mappings(statement.limit(page.limit).offset(page.offset))
        return rows, total

    async def check(self, size: Select[Any], what: str) -> None:
        """Raise `TooMuch` when what is about to be read has more than `LARGEST` bytes."""
        found = (await self.rows(size))[0][0] or 0
        if found > LARGEST:
            raise TooMuch(f"{what}, of {found:,} bytes,", f"{LARGEST:,} bytes; use a smaller `limit`")

    async def position(self) -> int:
        """Return the last sequence of the log that the tables hold."""
        rows = await self.rows(select(t.projection.c.position))
        return int(rows[0].position) if rows else 0

    async def standing(self) -> database.Standing:
        """Return how the tables stand to what this version needs."""
        async with self._connected() as connection:
            return await database.read_standing(connection)

    def seconds_between(self, begin: ColumnElement[Any], end: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return the seconds from one instant to another, in the database's own words."""
        if self._engine.dialect.name == "sqlite":
            return (func.julianday(end) - func.julianday(begin)) * 86_400.0
        return func.extract("epoch", end - begin)

    def seconds_since(self, at: ColumnElement[Any], since: datetime) -> ColumnElement[Any]:
        """Return the whole seconds from an instant, of a whole second, to a column's."""
        begin = int(since.timestamp())
        if self._engine.dialect.name == "sqlite":
            return cast(func.strftime("%s", at), Integer) - begin
        return cast(func.floor(func.extract("epoch", at)), BigInteger) - begin

    def joined(self, text: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return the texts of a group's rows, joined without anything between them."""
        name = "group_concat" if self._engine.dialect.name == "sqlite" else "string_agg"
        return getattr(func, name)(text, "")

    def text_in(self, body: ColumnElement[str], *path: str) -> ColumnElement[Any]:
        """Return a text within a column of JSON text."""
        if self._engine.dialect.name == "sqlite":
            return func.json_extract(body, "$." + ".".join(path))
        return func.json_extract_path_text(cast(body, JSON), *path)

    def day_of(self, at: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return the UTC day of an instant, as `2026-10-09`."""
        if self._engine.dialect.name == "sqlite":
            return func.date(at)
        return func.to_char(func.timezone("UTC", at), "YYYY-MM-DD")


class ReadModel(Reader):
    """The read model as a whole: it knows how far the projection is, and is closed at the end."""

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine)
        self._waiters: list[tuple[int, asyncio.Future[bool]]] = []
        self._watch: asyncio.Task[None] | None = None
        self._stopped = False

    def seen_by(self, identity: Identity) -> Reader:
        """Return a reader that finds only what an identity may see."""
        scope = scope_of(identity)
        return self if scope is None else Reader(self._engine, scope=scope)

    async def reached(self, sequence: int, *, patience: float) -> bool:
        """Wait until the tables hold the log up to a sequence; tell whether they do within `patience` seconds."""
        if self._stopped:
            patience = 0
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiters.append((sequence, future))
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._watch_position())
        try:
            async with asyncio.timeout(patience):
                return await future
        except TimeoutError:
            return False

    async def _watch_position(self) -> None:
        while self._waiters:
            with suppress(SQLAlchemyError):  # the wait's own patience ends it
                position = await self.position()
                for sequence, future in self._waiters:
                    if sequence <= position and not future.done():
                        future.set_result(True)
            self._waiters = [waiter for waiter in self._waiters if not waiter[1].done()]
            await asyncio.sleep(POLL)

    def stop_waiting(self) -> None:
        """Let nobody wait for the projection any longer: the process is to end."""
        self._stopped = True
        for _, future in self._waiters:
            if not future.done():
                future.set_result(False)

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
        await self._engine.dispose()


S = TypeVar("S", bound=Value)
P = ParamSpec("P")
A = TypeVar("A")


def consistent(
    query: Callable[Concatenate[Reader, P], Awaitable[A]],
) -> Callable[Concatenate[Reader, P], Awaitable[A]]:
    """Let all that a query reads be of one moment: for every response that is made of several reads."""

    @wraps(query)
    async def consistently(reader: Reader, *args: P.args, **kwargs: P.kwargs) -> A:
        async with reader.snapshot() as moment:
            return await query(moment, *args, **kwargs)

    return consistently


def shaped(shape: type[S], row: Mapping[str, Any]) -> S:
    """Return a row as a response: the columns that its fields name."""
    fields = shape.__struct_fields__
    return shape(**{field: _VALUES[field](row[field]) if field in _VALUES else row[field] for field in fields})


# columns of JSON that hold shapes
_VALUES: dict[str, Callable[[Any], Any]] = {
    "exclusions": lambda value: msgspec.convert(value, list[Exclusion]),
    "inclusions": lambda value: msgspec.convert(value, list[datetime]),
}


def size_of(*columns: ColumnElement[Any]) -> ColumnElement[int]:
    """Return how large the values of columns are, in characters."""
    total: ColumnElement[int] = literal(0)
    for column in columns:
        total += func.coalesce(func.length(cast(column, Text)), 0)
    return total


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
