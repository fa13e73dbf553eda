"""The real tables, after a run: the store that a recorder uses, on SQLite, says what the one in memory says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import select

from bus.envelope import Entry
from bus.log import Identity
from schemas.tables import metadata
from services import database
from services.recorder.store import Tables
from tests.simulation.log import CREATED
from tests.simulation.store import KEYS, Database

TOGETHER = 40  # messages in one transaction


def differences(entries: Sequence[Entry]) -> list[str]:
    """Return where the tables in SQL and those in memory differ, after the same log."""
    memory = Database()
    memory.apply(entries)
    return [*_compare(asyncio.run(_in_sql(entries)), memory)]


async def _in_sql(entries: Sequence[Entry]) -> dict[str, dict[tuple[Any, ...], dict[str, Any]]]:
    tables = Tables("sqlite+aiosqlite:///:memory:")
    engine = tables._engine
    stream = Identity(created=CREATED, last_sequence=len(entries))
    try:
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
            revision = database.standing_of(None).needed
            await connection.exec_driver_sql(f"CREATE TABLE alembic_version AS SELECT '{revision}' AS version_num")
        for start in range(0, len(entries), TOGETHER):
            await tables.apply(entries[start : start + TOGETHER], stream)
        found: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
        async with engine.connect() as connection:
            for table in metadata.sorted_tables:
                rows = [dict(row) for row in (await connection.execute(select(table))).mappings()]
                found[table.name] = {tuple(row[key] for key in KEYS[table.name]): row for row in rows}
        return found
    finally:
        await tables.close()


def _compare(sql: dict[str, dict[tuple[Any, ...], dict[str, Any]]], memory: Database) -> Iterator[str]:
    for table, rows in memory.tables.items():
        if table == "projection":
            continue
        for key in sorted(rows.keys() | sql[table].keys(), key=str):
            one, other = rows.get(key), sql[table].get(key)
            if one is None or other is None:
                yield f"{table} {key}: only {'in SQL' if one is None else 'in memory'}"
            elif one != other:
                columns = [
                    f"{column}: {one[column]!r} / {other[column]!r}" for column in one if one[column] != other[column]
                ]
                yield f"{table} {key}: {'; '.join(columns)}"
