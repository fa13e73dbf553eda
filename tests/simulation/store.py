"""The read model in memory: the tables' keys and constraints, and changes applied all or not at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from copy import copy
from typing import Any

from sqlalchemy import JSON, Column, Table
from sqlalchemy.exc import IntegrityError, OperationalError

from bus.envelope import Entry
from bus.errors import ForeignStream
from bus.log import Identity
from schemas import tables as t
from schemas.ids import AD_HOC, ENGINE
from services.recorder.changes import Changes
from services.recorder.coming import Affected, next_execution
from services.recorder.known import KnownExecution, KnownFlow, KnownRows, Row, Subjects
from services.recorder.projection import project, refuse
from services.recorder.store import Publish, publish_nothing
from services.unusable import DeadLetter

Key = tuple[Any, ...]


def default(column: Column[Any]) -> Any:
    """Return what a column has in a row that says nothing of it."""
    if column.server_default is None:
        return None
    text = str(column.server_default.arg)  # type: ignore[attr-defined]
    kind = column.type.python_type
    if isinstance(column.type, JSON):
        return json.loads(text)
    return text == "true" if kind is bool else kind(text)


DEFAULTS: dict[str, Row] = {
    table.name: {column.name: default(column) for column in table.columns} for table in t.metadata.sorted_tables
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

    def apply(self, entries: Sequence[Entry]) -> list[DeadLetter]:
        """Take in entries and return what is set aside. What the tables refuse is found by halves, as in SQL."""
        changes = project(entries, self._known(Subjects(entries)))
        try:
            self._try(changes)
        except IntegrityError as error:
            if len(entries) == 1:
                changes = refuse(entries[0], str(error))
                self._try(changes)
                return changes.dead_letters
            middle = len(entries) // 2
            return [*self.apply(entries[:middle]), *self.apply(entries[middle:])]
        return changes.dead_letters

    def _try(self, changes: Changes) -> None:
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

    def _known(self, about: Subjects) -> KnownRows:
        """Return what the tables hold of what some entries are about."""
        known, tables = KnownRows(), self.tables
        identities, executions = tables["identities"], tables["protection_flow_executions"]
        wanted = {*about.identities, *(f"execution/{id_}" for id_ in about.executions)}
        known.identities = {id_: identities[id_,]["number"] for id_ in wanted if (id_,) in identities}
        for id_ in about.flows:
            if row := tables["protection_flows"].get((id_,)):
                known.flows[id_] = KnownFlow(armed_at=row["armed_at"], last_occurrence=row["last_occurrence"])
        for id_ in about.executions:
            if row := executions.get((id_,)):
                known.executions[id_] = KnownExecution(
                    flow_id=row["flow_id"] or AD_HOC,
                    started_at=row["started_at"],
                    ended=row["completed_at"] is not None,
                    job_ids=row["created_job_ids"],
                )
        for id_ in about.jobs:
            if row := tables["backup_jobs"].get((id_,)):
                known.jobs[row["execution_id"], id_] = dict(row)
        for id_ in about.commands:
            if row := tables["commands"].get((id_,)):
                known.commands[id_] = row["outcome"] == "pending"
        return known

    def __copy__(self) -> Database:
        """Return one that can be written without this one's being touched. Rows are never changed in place."""
        new = Database()
        new.tables = {name: dict(rows) for name, rows in self.tables.items()}
        return new

    def take(self, other: Database) -> None:
        """Commit what was written to a copy."""
        self.tables = other.tables

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

    def _update(self, table: str, id_: str, values: Row) -> None:
        row = self.tables[table].get((id_,))
        if row is not None:
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
            case "notifications":
                self._cascade("notification_deliveries", "notification_id", key[0])
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
        for id_, number in changes.identities.items():
            self._set("identities", (id_,), {"id": id_, "number": number})
        for table, id_, row, members in changes.definitions:
            self._define(table, id_, row, members)
        for row in changes.new_executions.values():
            self._require("protection_flows", row["flow_id"], f"execution {row['id']!r}")
            self._insert("protection_flow_executions", row)
        for row in changes.new_jobs.values():
            self._require("protection_flow_executions", row["execution_id"], f"backup {row['id']!r}")
            self._insert("backup_jobs", row, unless_there=True)
        for table_, rows in (
            ("backup_jobs", changes.job_changes),
            ("protection_flow_executions", changes.execution_changes),
            ("protection_flows", changes.flow_changes),
        ):
            for id_, values in rows.items():
                self._update(table_, id_, values)
        for end in changes.flow_ends:
            self._count(end)
        self._plan_ahead(changes)
        for row in changes.new_deliveries.values():
            self._insert("notification_deliveries", row)
        for id_, values in changes.delivery_changes.items():
            self._update("notification_deliveries", id_, values)
        for row in changes.new_commands.values():
            self._insert("commands", row)
        for id_, values in changes.outcomes.items():
            self._update("commands", id_, values)
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
            if any(one["name"] == row["name"] and one["id"] != id_ for one in self.tables[name].values()):
                raise _violated(f"UNIQUE constraint failed: the name of flow {id_!r}")
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

    def _plan_ahead(self, changes: Changes) -> None:
        flows, schedules = self.tables["protection_flows"], self.tables["schedules"]
        affected, freeze = Affected.by(changes), self.tables["freezes"].get((ENGINE,))
        for flow in [flow for flow in flows.values() if affected is not None and affected.includes(flow)]:
            at = next_execution(flow, schedules.get((flow["schedule_id"],)), freeze)
            self._update("protection_flows", flow["id"], {"next_execution_time": at})


class MemoryStore:
    """The recorder's store, on a database that outlives it."""

    def __init__(self, database: Database, *, seconds: float = 0.001) -> None:
        self.database = database
        self._seconds = seconds

    async def position(self, stream: Identity) -> int:
        if self.database.stream not in {None, stream.created}:
            raise ForeignStream("the database holds another log")
        return self.database.position

    async def apply(self, entries: Sequence[Entry], stream: Identity, publish: Publish = publish_nothing) -> None:
        await asyncio.sleep(self._seconds)
        if self.database.broken:
            raise OperationalError("INSERT", {}, Exception("disk I/O error"))
        fresh = [entry for entry in entries if entry.sequence > self.database.position]
        # what is said and not kept is said again after a crash; here the tables are what a crash may lose, not the word
        known = copy(self.database)
        if dead_letters := known.apply(fresh):
            await publish(dead_letters)
        self.database.take(known)
        self.database.stream, self.database.position = stream.created, entries[-1].sequence

    async def close(self) -> None:
        """Let go of the connection: there is none."""


def _violated(what: str) -> IntegrityError:
    return IntegrityError("INSERT", {}, Exception(what))
