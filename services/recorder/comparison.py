"""The difference between two databases: every row of every table, whatever the databases are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.base import Value
from schemas.tables import metadata
from services import database

Row = dict[str, Any]
CHUNK = 1_000  # rows read at once


class Difference(Value, frozen=True, kw_only=True):
    """A row that is not the same in both: its table and key, and what each has (None: no such row)."""

    table: str
    key: tuple[Any, ...]
    left: Row | None
    right: Row | None

    def __str__(self) -> str:
        name = f"{self.table} {', '.join(map(str, self.key))}"
        if self.left is None or self.right is None:
            return f"{name}: only in the {'first' if self.right is None else 'second'}"
        columns = [column for column in self.left if self.left[column] != self.right[column]]
        return f"{name}: " + "; ".join(f"{one} {_short(self.left[one])} / {_short(self.right[one])}" for one in columns)


def _short(value: Any) -> str:
    text = value.isoformat() if isinstance(value, datetime) else repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


async def differences(left_url: str, right_url: str) -> AsyncIterator[Difference]:
    """Yield what differs, table by table in the order of their keys."""
    left, right = database.reader(left_url), database.reader(right_url)
    try:
        async with database.snapshot(left) as one, database.snapshot(right) as other:
            for table in metadata.sorted_tables:
                async for difference in _of_table(table, one, other):
                    yield difference
    finally:
        await left.dispose()
        await right.dispose()


async def _of_table(table: Table, left: AsyncConnection, right: AsyncConnection) -> AsyncIterator[Difference]:
    ours, theirs = _rows(table, left), _rows(table, right)
    one, other = await anext(ours, None), await anext(theirs, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None
            yield Difference(table=table.name, key=one[0], left=one[1], right=None)
            one = await anext(ours, None)
        elif one is None or other[0] < one[0]:
            yield Difference(table=table.name, key=other[0], left=None, right=other[1])
            other = await anext(theirs, None)
        else:
            if one[1] != other[1]:
                yield Difference(table=table.name, key=one[0], left=one[1], right=other[1])
            one, other = await anext(ours, None), await anext(theirs, None)


async def _rows(table: Table, connection: AsyncConnection) -> AsyncIterator[tuple[tuple[Any, ...], Row]]:
    """Yield a table's rows with their keys, in the keys' order, which is the same in every database."""
    keys = list(table.primary_key.columns)
    # texts are compared by their bytes: PostgreSQL would follow a locale
    collation = "BINARY" if connection.dialect.name == "sqlite" else "C"
    order = [key.collate(collation) if key.type.python_type is str else key for key in keys]
    statement = select(table).order_by(*order).execution_options(yield_per=CHUNK)
    result = await connection.stream(statement)
    async for row in result.mappings():
        yield tuple(row[key.name] for key in keys), dict(row)
