"""The store: applies changes and moves the position, in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Table, bindparam, case, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bus.errors import ForeignStream
from bus.log import Identity
from bus.subjects import STREAM
from schemas import tables as t
from services.recorder.projection import Changes, Row

MOST_KEYS = 500  # ids in one IN (…)


class Store:
    """The read model's one writer."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def position(self, stream: Identity) -> int:
        """Return the last sequence that is in the tables. Raises `ForeignStream` when it is another stream's."""
        async with self._engine.connect() as connection:
            row = (await connection.execute(select(t.projection).where(t.projection.c.stream == STREAM))).one_or_none()
        if row is None:
            return 0
        if row.stream_created != stream.created or row.position > stream.last_sequence:
            raise ForeignStream(
                f"the database holds the log created at {row.stream_created} up to {row.position}, but the server has "
                f"one created at {stream.created} that ends at {stream.last_sequence}: it was replaced or damaged. "
                "Use the database that belongs to this log, or start with an empty one"
            )
        return int(row.position)

    async def apply(self, changes: Changes, stream: Identity, position: int) -> None:
        """Write all changes and the position, or nothing."""
        async with self._engine.begin() as connection:
            await _write(connection, changes)
            statement = self._insert(t.projection)
            await connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["stream"], set_={"position": statement.excluded.position}
                ),
                {"stream": STREAM, "stream_created": stream.created, "position": position},
            )

    def _insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        return sqlite.insert(table) if self._engine.dialect.name == "sqlite" else postgresql.insert(table)

    async def close(self) -> None:
        await self._engine.dispose()


async def _write(connection: AsyncConnection, changes: Changes) -> None:
    for table, id_, row, members in changes.definitions:
        await _define(connection, table, id_, row, members)
    executions = await _of_known(connection, changes.new_executions.values(), t.protection_flows, "flow_id")
    await _insert_all(connection, t.executions, executions)
    jobs = await _of_known(connection, changes.new_jobs.values(), t.executions, "execution_id")
    await _insert_all(connection, t.backup_jobs, jobs)
    await _update_jobs(connection, changes.job_changes)
    await _update_all(connection, t.executions, changes.execution_changes)
    await _update_all(connection, t.protection_flows, changes.flow_changes)
    await _count(connection, await _of_known(connection, changes.flow_ends, t.executions, "execution_id"))
    await _insert_all(connection, t.commands, list(changes.new_commands.values()), unless_there="id")
    await _update_all(connection, t.commands, changes.answers, t.commands.c.outcome == "pending")
    await _insert_events(connection, changes.events)
    if changes.prune_before is not None:
        await _prune(connection, changes.prune_before)


async def _define(connection: AsyncConnection, table: Table, id_: str, row: Row | None, members: list[Row]) -> None:
    if row is None:
        await connection.execute(delete(table).where(table.c.id == id_))
        return
    result = await connection.execute(update(table).where(table.c.id == id_).values(row))
    if not result.rowcount:
        await connection.execute(insert(table).values(row))
    if table is t.machine_groups:
        group = t.machine_group_members.c.group_id == id_
        await connection.execute(delete(t.machine_group_members).where(group))
        await _insert_all(connection, t.machine_group_members, members)


async def _of_known(connection: AsyncConnection, rows: Iterable[Row], parent: Table, key: str) -> list[Row]:
    """Return the rows whose parent exists: what a deleted flow's executions still say has no place any more."""
    rows = list(rows)
    wanted = sorted({row[key] for row in rows if row[key] is not None})
    known: set[str] = set()
    for start in range(0, len(wanted), MOST_KEYS):
        some = wanted[start : start + MOST_KEYS]
        known.update((await connection.execute(select(parent.c.id).where(parent.c.id.in_(some)))).scalars())
    return [row for row in rows if row[key] is None or row[key] in known]


async def _insert_all(
    connection: AsyncConnection, table: Table, rows: Sequence[Row], *, unless_there: str | None = None
) -> None:
    """Insert rows that all have the same columns."""
    if not rows:
        return
    statement: Any = insert(table)
    if unless_there is not None:
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        statement = dialect.insert(table).on_conflict_do_nothing(index_elements=[unless_there])
    await connection.execute(statement, rows)


async def _update_all(
    connection: AsyncConnection, table: Table, changes: dict[str, Row], condition: Any = None, kept: str = ""
) -> None:
    """Update rows by id, one statement for all that change the same columns.

    `kept`: a column whose first value stays.
    """
    by_columns: dict[tuple[str, ...], list[Row]] = {}
    for id_, values in changes.items():
        by_columns.setdefault(tuple(sorted(values)), []).append({"id_": id_, **values})
    for columns, rows in by_columns.items():
        if not columns:
            continue
        statement = update(table).where(table.c.id == bindparam("id_"))
        if condition is not None:
            statement = statement.where(condition)
        values: dict[str, Any] = {column: bindparam(column) for column in columns}
        if kept in values:
            values[kept] = func.coalesce(table.c[kept], bindparam(kept))
        await connection.execute(statement.values(values), rows)


async def _insert_events(connection: AsyncConnection, rows: Sequence[Row]) -> None:
    """Insert messages past SQLAlchemy's own binding, which takes longer than the rest: each message is a row here."""
    if not rows:
        return
    dialect = connection.dialect
    compiled = insert(t.events).compile(dialect=dialect)
    types = [(column.name, column.type.dialect_impl(dialect).bind_processor(dialect)) for column in t.events.columns]
    if dialect.name == "sqlite":
        bound = [tuple(process(row[name]) if process else row[name] for name, process in types) for row in rows]
        await connection.exec_driver_sql(str(compiled), bound)
    else:
        await connection.execute(insert(t.events), list(rows))


async def _update_jobs(connection: AsyncConnection, changes: dict[tuple[str, int], Row]) -> None:
    """Update jobs attempt by attempt: one that has ended, or of which a newer attempt has begun, stays as it is."""
    j = t.backup_jobs
    for attempt in sorted({attempt for _, attempt in changes}):
        rows = {id_: row for (id_, of), row in changes.items() if of == attempt}
        current = j.c.completed_at.is_(None)
        if attempt:
            current &= j.c.attempt <= attempt
        await _update_all(connection, j, rows, current, kept="first_error")


async def _count(connection: AsyncConnection, ends: list[Row]) -> None:
    """Count completed executions, each once, and note how a flow's newest one ended."""
    if not ends:
        return
    flow = t.protection_flows
    counted = update(flow).where(flow.c.id == bindparam("flow_id_"))
    await connection.execute(
        counted.values(
            total_executions=flow.c.total_executions + 1,
            successful_executions=flow.c.successful_executions + bindparam("ok"),
            failed_executions=flow.c.failed_executions + bindparam("failed"),
        ),
        [{"flow_id_": end["flow_id"], "ok": end["ok"], "failed": end["failed"]} for end in ends],
    )
    newest = counted.where(flow.c.last_execution_id == bindparam("execution_id_"))
    await connection.execute(
        newest.values(last_execution_status=bindparam("status_")),
        [{"flow_id_": end["flow_id"], "execution_id_": end["execution_id"], "status_": end["status"]} for end in ends],
    )


async def _prune(connection: AsyncConnection, before: datetime) -> None:
    """Drop what ended before an instant, and its messages; totals stay, and the last good backup of each VM.

    A VM's backups in each repository count apart.
    """
    e, j, f = t.executions, t.backup_jobs, t.protection_flows
    good = j.c.status == "success"
    newest = (
        select(j.c.context_id, j.c.repository_id, func.max(j.c.completed_at).label("at"))
        .where(good)
        .group_by(j.c.context_id, j.c.repository_id)
        .subquery()
    )
    last_good = (
        select(j.c.execution_id)
        .join(
            newest,
            (newest.c.context_id == j.c.context_id)
            & (newest.c.repository_id == j.c.repository_id)
            & (newest.c.at == j.c.completed_at),
        )
        .where(good)
    )
    old = (e.c.completed_at < before) & e.c.id.not_in(last_good)
    ended = select(
        func.count(),
        func.coalesce(func.sum(case((e.c.status.in_(("success", "warning")), 1), else_=0)), 0),
        func.coalesce(func.sum(case((e.c.status == "error", 1), else_=0)), 0),
    )
    counts = ended.add_columns(e.c.flow_id).where(old, e.c.flow_id.is_not(None)).group_by(e.c.flow_id)
    rows = [
        {"flow_id_": flow_id, "all_": total, "good_": good_, "failed_": failed}
        for total, good_, failed, flow_id in await connection.execute(counts)
    ]
    if rows:
        values = {
            "pruned_executions": f.c.pruned_executions + bindparam("all_"),
            "pruned_successful": f.c.pruned_successful + bindparam("good_"),
            "pruned_failed": f.c.pruned_failed + bindparam("failed_"),
        }
        await connection.execute(update(f).where(f.c.id == bindparam("flow_id_")).values(values), rows)
    await connection.execute(delete(t.events).where(t.events.c.correlation.in_(select(e.c.id).where(old))))
    await connection.execute(delete(e).where(old))
