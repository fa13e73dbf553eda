"""The read model in memory: the tables' keys and constraints, and changes applied all or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Table
from sqlalchemy.exc import IntegrityError, OperationalError

from bus.errors import ForeignStream
from bus.log import Identity
from schemas import tables as t
from services.recorder.projection import Changes, Row

Key = tuple[Any, ...]
DEFAULTS: dict[str, Row] = {
    table.name: {
        column.name: (
            None if column.server_default is None else column.type.python_type(column.server_default.arg)  # type: ignore[attr-defined]
        )
        for column in table.columns
    }
    for table in t.metadata.sorted_tables
}
KEYS: dict[str, list[str]] = {
    table.name: [column.name for column in table.primary_key.columns] for table in t.metadata.sorted_tables
}


class Database:
    """What survives a recorder's crash."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[Key, Row]] = {table.name: {} for table in t.metadata.sorted_tables}
        self.position = 0
        self.stream: str | None = None
        self.broken = False  # it takes nothing
        self._undo: list[tuple[str, Key, Row | None]] = []

    def apply(self, changes: Changes) -> None:
        """Write all changes, or nothing. Raises `IntegrityError`, as a database would."""
        self._undo = []
        try:
            self._write(changes)
        except IntegrityError:
            for table, key, row in reversed(self._undo):
                if row is None:
                    self.tables[table].pop(key, None)
                else:
                    self.tables[table][key] = row
            raise

    # --- rows -----------------------------------------------------------------------------------------------------

    def _set(self, table: str, key: Key, row: Row | None) -> None:
        rows = self.tables[table]
        self._undo.append((table, key, rows.get(key)))
        if row is None:
            rows.pop(key, None)
        else:
            rows[key] = row

    def _insert(self, table: str, row: Row, *, unless_there: bool = False) -> None:
        key = tuple(row[name] for name in KEYS[table])
        if key in self.tables[table]:
            if unless_there:
                return
            raise _violated(f"UNIQUE constraint failed: {table} {key}")
        self._set(table, key, {**DEFAULTS[table], **row})

    def _update(self, table: str, id_: str, values: Row, condition: Callable[[Row], bool] | None = None) -> None:
        row = self.tables[table].get((id_,))
        if row is not None and (condition is None or condition(row)):
            self._set(table, (id_,), {**row, **values})

    def _require(self, table: str, id_: str | None, whose: str) -> None:
        if id_ is not None and (id_,) not in self.tables[table]:
            raise _violated(f"FOREIGN KEY constraint failed: {whose} refers to {table} {id_!r}")

    def _delete(self, table: str, key: Key) -> None:
        self._set(table, key, None)
        match table:
            case "machine_groups":
                self._cascade("machine_group_members", "group_id", key[0])
            case "protection_flows":
                self._cascade("protection_flow_executions", "flow_id", key[0])
            case "protection_flow_executions":
                self._cascade("backup_jobs", "execution_id", key[0])
            case "vms":
                self._refuse("machine_group_members", "context_id", key[0])
            case "repositories" | "policies" | "schedules":
                singular = {"repositories": "repository_id", "policies": "policy_id", "schedules": "schedule_id"}
                self._refuse("protection_flows", singular[table], key[0])
            case _:
                pass

    def _cascade(self, table: str, column: str, id_: str) -> None:
        for key in [key for key, row in self.tables[table].items() if row[column] == id_]:
            self._delete(table, key)

    def _refuse(self, table: str, column: str, id_: str) -> None:
        if any(row[column] == id_ for row in self.tables[table].values()):
            raise _violated(f"FOREIGN KEY constraint failed: {table} still refers to {id_!r}")

    # --- changes, in the order in which the store applies them ------------------------------------------------------

    def _write(self, changes: Changes) -> None:
        for table, id_, row, members in changes.definitions:
            self._define(table, id_, row, members)
        for row in self._known(changes.new_executions.values(), "protection_flows", "flow_id"):
            self._insert("protection_flow_executions", row)
        for row in self._known(changes.new_jobs.values(), "protection_flow_executions", "execution_id"):
            self._insert("backup_jobs", row)
        for (id_, attempt), values in sorted(changes.job_changes.items(), key=lambda item: item[0][1]):
            job = self.tables["backup_jobs"].get((id_,))
            if job is None or job["completed_at"] is not None or (attempt and job["attempt"] > attempt):
                continue
            kept = {"first_error": job["first_error"]} if job["first_error"] is not None else {}
            self._set("backup_jobs", (id_,), {**job, **values, **(kept if "first_error" in values else {})})
        for id_, values in changes.execution_changes.items():
            self._update("protection_flow_executions", id_, values)
        for id_, values in changes.flow_changes.items():
            self._update("protection_flows", id_, values)
        for end in self._known(changes.flow_ends, "protection_flow_executions", "execution_id"):
            self._count(end)
        for row in changes.new_commands.values():
            self._insert("commands", row, unless_there=True)
        for id_, values in changes.answers.items():
            self._update("commands", id_, values, lambda row: row["outcome"] == "pending")
        for row in changes.events:
            self._insert("events", row)

    def _define(self, table: Table, id_: str, row: Row | None, members: list[Row]) -> None:
        name = table.name
        before = self.tables[name].get((id_,))
        if row is None:
            if before is not None:
                self._delete(name, (id_,))
            return
        if table is t.protection_flows:
            for column, parent in (
                ("repository_id", "repositories"),
                ("policy_id", "policies"),
                ("schedule_id", "schedules"),
            ):
                self._require(parent, row[column], f"flow {id_!r}")
        self._set(name, (id_,), {**(before or DEFAULTS[name]), **row})
        if table is t.machine_groups:
            self._cascade("machine_group_members", "group_id", id_)
            for member in members:
                self._require("vms", member["context_id"], f"group {id_!r}")
                self._insert("machine_group_members", member)

    def _known(self, rows: Iterable[Row], parent: str, key: str) -> list[Row]:
        there = self.tables[parent]
        return [row for row in rows if row[key] is None or (row[key],) in there]

    def _count(self, end: Row) -> None:
        flow = self.tables["protection_flows"].get((end["flow_id"],))
        if flow is None:
            return
        counted = {
            "total_executions": flow["total_executions"] + 1,
            "successful_executions": flow["successful_executions"] + end["ok"],
            "failed_executions": flow["failed_executions"] + end["failed"],
        }
        if flow["last_execution_id"] == end["execution_id"]:
            counted["last_execution_status"] = end["status"]
        self._set("protection_flows", (end["flow_id"],), {**flow, **counted})


class MemoryStore:
    """The recorder's store, on a database that outlives it."""

    def __init__(self, database: Database, *, seconds: float = 0.001) -> None:
        self.database = database
        self._seconds = seconds

    async def position(self, stream: Identity) -> int:
        if self.database.stream not in {None, stream.created}:
            raise ForeignStream("the database holds another log")
        return self.database.position

    async def apply(self, changes: Changes, stream: Identity, position: int) -> None:
        await asyncio.sleep(self._seconds)
        if self.database.broken:
            raise OperationalError("INSERT", {}, Exception("disk I/O error"))
        self.database.apply(changes)
        self.database.stream, self.database.position = stream.created, position

    async def close(self) -> None:
        """Let go of the connection: there is none."""


def _violated(what: str) -> IntegrityError:
    return IntegrityError("INSERT", {}, Exception(what))
