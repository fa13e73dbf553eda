"""Columns and indexes for those who read the tables by SQL; the names of flows are unique."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

from schemas.tables import Moment
from services.recorder.coming import Affected
from services.timetable import update_flows

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

LOSES = (
    "protection_flows.last_occurrence",
    "protection_flows.next_execution_time",
    "protection_flow_executions.vms_processed",
    "protection_flow_executions.execution_time_seconds",
    "protection_flow_executions.created_job_ids",
)
FLOWS, EXECUTIONS = "protection_flows", "protection_flow_executions"

flows = sa.table(FLOWS, sa.column("id"), sa.column("name"), sa.column("last_occurrence", Moment()))
executions = sa.table(
    EXECUTIONS,
    *(sa.column(name) for name in ("id", "jobs_completed", "jobs_failed", "vms_processed", "execution_time_seconds")),
    *(sa.column(name, Moment()) for name in ("started_at", "completed_at")),
    sa.column("created_job_ids", sa.JSON()),
)
jobs = sa.table("backup_jobs", *(sa.column(name) for name in ("id", "execution_id", "position")))


def upgrade() -> None:
    """Add them, filled from the events and from the other rows."""
    connection = op.get_bind()
    _check_names(connection)
    op.add_column(FLOWS, sa.Column("last_occurrence", Moment()))
    op.add_column(FLOWS, sa.Column("next_execution_time", Moment()))
    op.add_column(EXECUTIONS, sa.Column("vms_processed", sa.Integer(), nullable=False, server_default="0"))
    op.add_column(EXECUTIONS, sa.Column("execution_time_seconds", sa.Float()))
    op.add_column(EXECUTIONS, sa.Column("created_job_ids", sa.JSON(), nullable=False, server_default="[]"))
    op.drop_index("ix_protection_flows_name", FLOWS)
    op.drop_index("ix_protection_flows_target_id", FLOWS)
    op.create_index("ix_protection_flows_name", FLOWS, ["name"], unique=True)
    op.create_index("ix_protection_flows_target", FLOWS, ["target_id", "target_type"])
    op.create_index("ix_protection_flows_enabled", FLOWS, ["enabled"])
    op.create_index("ix_protection_flows_last_execution_time", FLOWS, ["last_execution_time"])
    ended = executions.c.completed_at.is_not(None)
    processed = executions.c.jobs_completed + executions.c.jobs_failed
    connection.execute(sa.update(executions).where(ended).values(vms_processed=processed))
    _change(connection, executions, "execution_time_seconds", _durations(connection))
    _change(connection, executions, "created_job_ids", _job_ids(connection))
    _change(connection, flows, "last_occurrence", _occurrences(connection))
    update_flows(connection, Affected(every=True))


def _check_names(connection: sa.Connection) -> None:
    other = flows.alias()
    same = sa.exists().where(other.c.name == flows.c.name, other.c.id < flows.c.id)
    doubled = sa.select(flows.c.name).where(same).distinct()
    if names := connection.execute(doubled).scalars().all():
        raise RuntimeError(
            f"several flows have the name {names[0]!r}, and names are unique from here on ({len(names)} in all): "
            "rename all but one of them with the version that you had, then upgrade"
        )


def _change(connection: sa.Connection, table: sa.TableClause, column: str, values: Iterator[tuple[str, Any]]) -> None:
    """Set a column of the rows with these ids."""
    statement = sa.update(table).where(table.c.id == sa.bindparam("id_")).values({column: sa.bindparam("value_")})
    rows = [{"id_": id_, "value_": value} for id_, value in values]
    for start in range(0, len(rows), 1000):
        connection.execute(statement, rows[start : start + 1000])


def _durations(connection: sa.Connection) -> Iterator[tuple[str, float]]:
    e = executions.c
    for id_, begin, end in connection.execute(sa.select(e.id, e.started_at, e.completed_at)).all():
        if begin is not None and end is not None:
            yield id_, max(0.0, (end - begin).total_seconds())


def _job_ids(connection: sa.Connection) -> Iterator[tuple[str, list[str]]]:
    found: dict[str, list[str]] = {}
    ordered = sa.select(jobs.c.execution_id, jobs.c.id).order_by(jobs.c.execution_id, jobs.c.position)
    for execution_id, id_ in connection.execute(ordered):
        found.setdefault(execution_id, []).append(id_)
    yield from found.items()


def _occurrences(connection: sa.Connection) -> Iterator[tuple[str, datetime]]:
    """Yield the newest occurrence of each flow that has an outcome, since the flow was created."""
    found: dict[str, datetime] = {}
    armed: dict[str, datetime] = {}
    types = "type IN ('flow.due', 'flow.missed', 'catalog.flow')"
    events = connection.execute(sa.text(f"SELECT type, body FROM events WHERE {types} ORDER BY sequence"))  # noqa: S608  constant
    for kind, body in events:
        try:
            data = msgspec.json.decode(body)["data"]
            if kind == "catalog.flow":
                if data["definition"] is None:
                    found.pop(data["id"], None)
                    armed.pop(data["id"], None)
                else:
                    armed[data["id"]] = msgspec.convert(data["definition"]["armed_at"], datetime)
                continue
            at = msgspec.convert(data["occurrence" if kind == "flow.due" else "last"], datetime)
            if at > armed[data["flow_id"]]:
                found[data["flow_id"]] = max(at, found.get(data["flow_id"], at))
        except (msgspec.MsgspecError, KeyError, TypeError):
            continue  # it could not be projected either
    yield from found.items()


def downgrade() -> None:
    """Take them away."""
    for name in ("last_execution_time", "enabled", "target", "name"):
        op.drop_index(f"ix_protection_flows_{name}", FLOWS)
    op.create_index("ix_protection_flows_name", FLOWS, ["name"])
    op.create_index("ix_protection_flows_target_id", FLOWS, ["target_id"])
    for lost in LOSES:
        op.drop_column(*lost.split("."))
