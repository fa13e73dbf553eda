"""The store: applies what entries change and moves the position, in one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from functools import cache
from operator import itemgetter
from typing import Any, Protocol

from sqlalchemy import Dialect, Table, bindparam, case, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection

from bus.envelope import Entry
from bus.errors import ForeignStream
from bus.log import Identity, Log
from bus.subjects import STREAM
from schemas import tables as t
from schemas.ids import AD_HOC
from services import database
from services.recorder.changes import Changes
from services.recorder.coming import Affected
from services.recorder.known import KnownExecution, KnownFlow, KnownRows, Row, Subjects
from services.recorder.projection import batches, project, refuse
from services.timetable import update_flows
from services.unusable import DeadLetter, reason_of

MOST_KEYS = 500  # ids in one IN (…)

Publish = Callable[[Sequence[DeadLetter]], Awaitable[None]]


class Store(Protocol):
    """Where the recorder keeps its projection."""

    async def position(self, stream: Identity) -> int:
        """Return the last sequence that is in it. Raises `ForeignStream` when it is of another stream."""
        ...

    async def apply(self, entries: Sequence[Entry], stream: Identity, publish: Publish) -> None:
        """Take in entries in log order, and move the position to the last one; those before it change nothing.

        `publish` gets the dead letters before the rows are committed: a crash between the two publishes them again, and
        loses none.
        """
        ...

    async def close(self) -> None: ...


async def position_on(log: Log, store: Store) -> tuple[int, Identity]:
    """Return where a store is on the log, and which log that is. Raises `ForeignStream`, and what the two raise."""
    stream = await log.identity()
    position = await store.position(stream)
    # asked for again: another recorder on the same tables may have read further since
    now = await log.identity()
    if position > now.last_sequence:
        raise _foreign(stream.created, position, now)
    return position, now


def _foreign(created: str, position: int, stream: Identity) -> ForeignStream:
    return ForeignStream(
        f"the database holds the log created at {created} up to {position}, but the server has one created at "
        f"{stream.created} that ends at {stream.last_sequence}: it was replaced or damaged. Use the database that "
        "belongs to this log, or start with an empty one"
    )


async def publish_nothing(_: Sequence[DeadLetter]) -> None:
    """Publish no dead letters: a recorder has published them, or will."""


class Tables:
    """The read model, of which this is the one writer."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine = database.writer(url)

    async def position(self, stream: Identity) -> int:
        """Return the last sequence that is in the tables. Raises `ForeignStream`, and `WrongRevision`."""
        await database.prepare(self._url)
        async with self._engine.connect() as connection:
            row = (await connection.execute(select(t.projection).where(t.projection.c.stream == STREAM))).one_or_none()
        if row is None:
            return 0
        if row.stream_created != stream.created:
            raise _foreign(row.stream_created, row.position, stream)
        return int(row.position)

    async def apply(self, entries: Sequence[Entry], stream: Identity, publish: Publish = publish_nothing) -> None:
        """Write all that entries change, and the position. Raises `WrongRevision` when the tables have been migrated.

        A message that the database refuses is found by halving the batch, and becomes a dead letter.
        """
        for batch in batches(entries):
            try:
                await self._apply(batch, stream, publish)
            except _Refused as refused:
                if len(batch) == 1:
                    await self._apply(batch, stream, publish, refused=str(refused))
                    continue
                middle = len(batch) // 2
                await self.apply(batch[:middle], stream, publish)
                await self.apply(batch[middle:], stream, publish)

    async def _apply(
        self, entries: Sequence[Entry], stream: Identity, publish: Publish, *, refused: str | None = None
    ) -> None:
        async with self._engine.begin() as connection:
            await database.hold_revision(connection)
            position = await _locked_position(connection, stream)
            entries = [entry for entry in entries if entry.sequence > position]
            if not entries:
                return  # another recorder on these tables was faster
            try:
                if refused is None:
                    changes = _projected(entries, await _known(connection, Subjects(entries)))
                else:
                    changes = refuse(entries[0], refused)
                await _write(connection, changes)
            except (IntegrityError, DataError, StatementError, ValueError, ArithmeticError) as error:
                if refused is not None or not _of_message(error):
                    raise
                raise _Refused(_cause(error)) from error
            moved = update(t.projection).where(t.projection.c.stream == STREAM)
            await connection.execute(moved.values(position=entries[-1].sequence))
            if changes.dead_letters:
                await publish(changes.dead_letters)

    async def close(self) -> None:
        await self._engine.dispose()


class _Refused(Exception):
    """The database refuses some message of a batch."""


def _projected(entries: Sequence[Entry], known: KnownRows) -> Changes:
    """Return what entries change. Raises `_Refused` when one of them cannot be projected, for whatever reason."""
    try:
        return project(entries, known)
    except Exception as error:
        raise _Refused(f"it cannot be projected: {reason_of(error)}") from error


def _of_message(error: Exception) -> bool:
    """Tell whether a message caused an error. Otherwise the database did: full, locked, gone, without a table."""
    return isinstance(error, IntegrityError | DataError) or not isinstance(error, DBAPIError)


def _cause(error: Exception) -> str:
    cause = error.__cause__ or error
    return f"the database refused it: {(str(cause) or type(cause).__name__).splitlines()[0]}"


async def _locked_position(connection: AsyncConnection, stream: Identity) -> int:
    """Return the position. No other recorder moves it before this transaction ends."""
    locked = select(t.projection.c.position).where(t.projection.c.stream == STREAM).with_for_update()
    position = (await connection.execute(locked)).scalar()
    if position is None:
        row = {"stream": STREAM, "stream_created": stream.created, "position": 0}
        await connection.execute(_insert(connection.dialect, t.projection).on_conflict_do_nothing(), row)
        position = (await connection.execute(locked)).scalar_one()
    return int(position)


def _insert(dialect: Dialect, table: Table) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(table) if dialect.name == "sqlite" else postgresql.insert(table)


# --- what is there ---------------------------------------------------------------------------------------------------


async def _known(connection: AsyncConnection, about: Subjects) -> KnownRows:
    """Return what the tables hold of what some entries are about."""
    known, f, e, j, c = KnownRows(), t.protection_flows, t.executions, t.backup_jobs, t.commands
    executions = {f"execution/{id_}": id_ for id_ in about.executions}
    identities = [t.identities.c.id, t.identities.c.number]
    known.identities = dict(await _rows(connection, identities, {*about.identities, *executions}))
    # what begins among these very entries has no rows yet
    there = {id_ for identity, id_ in executions.items() if identity in known.identities}
    there |= {id_ for id_ in about.begun if f"buffered/{id_}" in known.identities}
    old = {id_ for id_ in about.executions if id_ not in about.begun or id_ in there}
    for id_, armed_at, last in await _rows(connection, [f.c.id, f.c.armed_at, f.c.last_occurrence], about.flows):
        known.flows[id_] = KnownFlow(armed_at=armed_at, last_occurrence=last)
    columns = [e.c.id, e.c.flow_id, e.c.started_at, e.c.completed_at]
    for id_, flow_id, started_at, completed_at in await _rows(connection, columns, old):
        ended = completed_at is not None
        known.executions[id_] = KnownExecution(flow_id=flow_id or AD_HOC, started_at=started_at, ended=ended)
    for id_, job_ids in await _rows(connection, [e.c.id, e.c.created_job_ids], old & about.planned):
        known.executions[id_].job_ids = job_ids
    columns = [j.c.id, j.c.execution_id, j.c.status, j.c.attempt, j.c.round]
    columns += [j.c.progress_percent, j.c.first_error, j.c.completed_at]
    jobs = {id_ for id_, execution_id in about.jobs.items() if execution_id in old}
    for row in await _rows(connection, columns, jobs):
        known.jobs[row.execution_id, row.id] = dict(row._mapping)  # noqa: SLF001  its public name
    for id_, outcome in await _rows(connection, [c.c.id, c.c.outcome], about.commands):
        known.commands[id_] = outcome == "pending"
    return known


async def _rows(connection: AsyncConnection, columns: Sequence[Any], wanted: Iterable[str]) -> list[Any]:
    """Return columns of the rows whose first one is wanted."""
    keys, found = sorted(wanted), []
    for start in range(0, len(keys), MOST_KEYS):
        some = select(*columns).where(columns[0].in_(keys[start : start + MOST_KEYS]))
        found += (await connection.execute(some)).all()
    return found


# --- what changes ----------------------------------------------------------------------------------------------------


async def _write(connection: AsyncConnection, changes: Changes) -> None:
    await _identify(connection, changes.identities)
    for table, id_, row, members in changes.definitions:
        await _define(connection, table, id_, row, members)
    await _insert_all(connection, t.executions, list(changes.new_executions.values()))
    await _insert_all(connection, t.backup_jobs, list(changes.new_jobs.values()), unless_there="id")
    await _update_all(connection, t.backup_jobs, changes.job_changes)
    await _update_all(connection, t.executions, changes.execution_changes)
    await _update_all(connection, t.protection_flows, changes.flow_changes)
    await _count(connection, changes.flow_ends)
    if affected := Affected.by(changes):
        await connection.run_sync(update_flows, affected)
    await _insert_all(connection, t.deliveries, list(changes.new_deliveries.values()))
    await _update_all(connection, t.deliveries, changes.delivery_changes)
    await _insert_all(connection, t.commands, list(changes.new_commands.values()))
    await _update_all(connection, t.commands, changes.outcomes)
    await _insert_all(connection, t.events, changes.events)
    if changes.prune_before is not None:
        await _prune(connection, changes.prune_before)


async def _identify(connection: AsyncConnection, identities: dict[str, int]) -> None:
    if identities:
        statement = _insert(connection.dialect, t.identities)
        again = statement.on_conflict_do_update(index_elements=["id"], set_={"number": statement.excluded.number})
        await connection.execute(again, [{"id": id_, "number": number} for id_, number in identities.items()])


async def _define(connection: AsyncConnection, table: Table, id_: str, row: Row | None, members: list[Row]) -> None:
    if row is None:
        await connection.execute(delete(table).where(table.c.id == id_))
        if table is t.notifications:
            await connection.execute(delete(t.deliveries).where(t.deliveries.c.notification_id == id_))
        return
    result = await connection.execute(update(table).where(table.c.id == id_).values(row))
    if not result.rowcount:
        await connection.execute(insert(table).values(row))
    if table is t.machine_groups:
        group = t.machine_group_members.c.group_id == id_
        await connection.execute(delete(t.machine_group_members).where(group))
        await _insert_all(connection, t.machine_group_members, members)


async def _insert_all(
    connection: AsyncConnection, table: Table, rows: Sequence[Row], *, unless_there: str | None = None
) -> None:
    """Insert rows that all have the same columns.

    In SQLite past SQLAlchemy's own binding, which takes longer than all the rest. The rows' values are bound in place.
    """
    if not rows:
        return
    if connection.dialect.name != "sqlite":
        await connection.execute(_insertion(connection.dialect, table, unless_there), list(rows))
        return
    statement, processes, values = _compiled(connection.dialect, table, tuple(rows[0]), unless_there)
    for name, process in processes:
        for row in rows:
            row[name] = process(row[name])
    await connection.exec_driver_sql(statement, [values(row) for row in rows])


def _insertion(dialect: Dialect, table: Table, unless_there: str | None) -> sqlite.Insert | postgresql.Insert:
    statement = _insert(dialect, table)
    return statement if unless_there is None else statement.on_conflict_do_nothing(index_elements=[unless_there])


@cache
def _compiled(
    dialect: Dialect, table: Table, names: tuple[str, ...], unless_there: str | None
) -> tuple[str, list[tuple[str, Any]], Callable[[Row], tuple[Any, ...]]]:
    """Return the statement that inserts rows with these columns, how some values are bound, and all in their order."""
    compiled = _insertion(dialect, table, unless_there).compile(dialect=dialect, column_keys=list(names))
    processes = [(name, table.c[name].type.dialect_impl(dialect).bind_processor(dialect)) for name in names]
    order = compiled.positiontup
    assert order is not None
    return str(compiled), [one for one in processes if one[1] is not None], itemgetter(*order)


async def _update_all(connection: AsyncConnection, table: Table, changes: dict[str, Row]) -> None:
    """Update rows by id, one statement for all that change the same columns."""
    by_columns: dict[tuple[str, ...], list[Row]] = {}
    for id_, values in changes.items():
        by_columns.setdefault(tuple(sorted(values)), []).append({"id_": id_, **values})
    for columns, rows in by_columns.items():
        statement = update(table).where(table.c.id == bindparam("id_"))
        await connection.execute(statement.values({column: bindparam(column) for column in columns}), rows)


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
    counted = old & e.c.flow_id.is_not(None) & e.c.started_at.is_not(None)  # what only waited was never counted
    counts = ended.add_columns(e.c.flow_id).where(counted).group_by(e.c.flow_id)
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
    await connection.execute(delete(t.deliveries).where(t.deliveries.c.settled_at < before))
