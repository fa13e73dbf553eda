"""The read model's tables (docs/architecture.md, "The read model").

Every row can be rebuilt from the log; times are UTC, sizes are bytes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
    text,
)

metadata = MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "fk": "fk_%(table_name)s_%(column_0_N_name)s"}
)

if TYPE_CHECKING:
    _Moment = TypeDecorator[datetime]
else:
    _Moment = TypeDecorator


class Moment(_Moment):
    """A UTC instant that comes back with its time zone, from SQLite too."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Any:
        """Return what turns a value into the driver's. SQLite's text, by hand: an event has several, and it is hot."""
        return _sqlite_text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        value = value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


def _sqlite_text(value: datetime | None) -> str | None:
    """Return an instant as SQLAlchemy's own SQLite type writes it: `2026-10-09 02:00:00.000000`, in UTC."""
    if value is None:
        return None
    if value.tzinfo is not UTC and value.tzinfo is not None:
        value = value.astimezone(UTC)
    return value.isoformat(" ", "microseconds")[:26]


def _id(name: str = "id", *args: Any, **kwargs: Any) -> Column[str]:
    return Column(name, String(64), *args, **kwargs)


def _definition(name: str, *columns: Column[Any] | Index, unique: bool = False) -> Table:
    """Return a table of definitions: what every kind has, then its own columns. `unique`: the names are."""
    return Table(
        name,
        metadata,
        _id(primary_key=True),
        Column("name", String(255), nullable=False, index=True, unique=unique),
        Column("description", Text, nullable=False),
        Column("enabled", Boolean, nullable=False),
        Column("version", Integer, nullable=False),
        Column("created_at", Moment, nullable=False),
        Column("updated_at", Moment, nullable=False),
        Column("created_by", String(255), nullable=False),
        *columns,
    )


vms = _definition(
    "vms",
    Column("power_state", String(64), nullable=False),
    Column("os_type", String(64), nullable=False),
    Column("cpu_count", Integer, nullable=False),
    Column("memory_mb", Integer, nullable=False),
    Column("tags", JSON, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("disks", JSON, nullable=False),
    Column("worker_labels", JSON, nullable=False, server_default="{}"),
)

freezes = Table(
    "freezes",
    metadata,
    _id(primary_key=True),
    Column("since", Moment, nullable=False),
    Column("until", Moment, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_by", String(255), nullable=False),
)

settings = Table(
    "settings",
    metadata,
    _id(primary_key=True),
    Column("max_concurrent_jobs", Integer),
    Column("keep_days", Integer),
    Column("version", Integer, nullable=False),
    Column("updated_at", Moment),
    Column("updated_by", String(255)),
    Column("disk_roots", JSON(none_as_null=True)),
    Column("repository_roots", JSON(none_as_null=True)),
    Column("block_devices", Boolean, nullable=False, server_default=false()),
)

tokens = Table(  # without what their secrets are known by
    "tokens",
    metadata,
    _id(primary_key=True),
    Column("name", String(255), nullable=False, index=True, unique=True),
    Column("role", String(16), nullable=False),
    Column("groups", JSON(none_as_null=True)),  # ids; null: no limit
    Column("expires_at", Moment),
    Column("version", Integer, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("created_by", String(255), nullable=False),
    Column("revoked_at", Moment),
    Column("revoked_by", String(255)),
)

workers = Table(  # those that may enrol, or did; without what their tokens and secrets are known by
    "workers",
    metadata,
    _id(primary_key=True),
    Column("name", String(64), nullable=False, index=True, unique=True),
    Column("labels", JSON, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("created_by", String(255), nullable=False),
    Column("enrolled_at", Moment),
    Column("revoked_at", Moment),
    Column("revoked_by", String(255)),
)

machine_groups = _definition(
    "machine_groups",
    _id("schedule_id"),  # no foreign key: SQLite could never drop the column again
    Column("max_concurrent_vms", Integer),
    Column("priority", Integer, nullable=False, server_default="0"),
)

machine_group_members = Table(
    "machine_group_members",
    metadata,
    _id("group_id", ForeignKey("machine_groups.id", ondelete="CASCADE"), primary_key=True),
    _id("context_id", ForeignKey("vms.id"), primary_key=True, index=True),
    Column("position", Integer, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("priority", Integer, nullable=False),
)

schedules = _definition(
    "schedules",
    Column("cron_expression", String(255), nullable=False),
    Column("more_expressions", JSON, nullable=False),
    Column("timezone", String(64), nullable=False),
    Column("dst_gap", String(16), nullable=False),
    Column("dst_fold", String(16), nullable=False),
    Column("exclusions", JSON, nullable=False),
    Column("inclusions", JSON, nullable=False),
    Column("start_date", Date),
    Column("end_date", Date),
    Column("jitter_seconds", Integer, nullable=False),
    Column("catch_up", String(16), nullable=False),
    Column("catch_up_window_seconds", Integer, nullable=False),
    Column("max_concurrent_jobs", Integer),
    Column("armed_at", Moment, nullable=False),
)

repositories = _definition(
    "repositories",
    Column("type", String(64), nullable=False),
    Column("location", Text, nullable=False),
    Column("max_concurrent_jobs", Integer),
    Column("config", JSON, nullable=False),
    Column("worker_labels", JSON, nullable=False, server_default="{}"),
)

policies = _definition(
    "policies",
    Column("keep_last", Integer),
    Column("keep_daily", Integer),
    Column("keep_weekly", Integer),
    Column("keep_monthly", Integer),
    Column("keep_yearly", Integer),
    Column("backup_type", String(16), nullable=False),
    Column("retry_attempts", Integer, nullable=False),
    Column("retry_delay_seconds", Integer, nullable=False),
    Column("timeout_seconds", Integer),
    Column("execution_timeout_seconds", Integer),
    Column("start_deadline_seconds", Integer),
)

protection_flows = _definition(
    "protection_flows",
    Column("flow_type", String(16), nullable=False),
    Column("target_type", String(16), nullable=False),
    _id("target_id", nullable=False),
    _id("repository_id", ForeignKey("repositories.id"), index=True),
    _id("policy_id", ForeignKey("policies.id"), index=True),
    _id("schedule_id", ForeignKey("schedules.id"), index=True),
    Column("destination_type", String(64)),
    Column("destination_config", JSON(none_as_null=True)),
    Column("overlap_policy", String(16), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("max_concurrent_jobs", Integer),
    Column("labels", JSON, nullable=False),
    Column("armed_at", Moment, nullable=False),
    # statistics: an execution counts once, when it completes
    Column("total_executions", BigInteger, nullable=False, server_default="0"),
    Column("successful_executions", BigInteger, nullable=False, server_default="0"),
    Column("failed_executions", BigInteger, nullable=False, server_default="0"),
    # of them, those whose rows were pruned
    Column("pruned_executions", BigInteger, nullable=False, server_default="0"),
    Column("pruned_successful", BigInteger, nullable=False, server_default="0"),
    Column("pruned_failed", BigInteger, nullable=False, server_default="0"),
    # the newest execution; no foreign key, as executions refer to flows
    _id("last_execution_id"),
    Column("last_execution_status", String(16), nullable=False, server_default="pending"),
    Column("last_execution_time", Moment, index=True),
    # the newest occurrence with an outcome on the log, and when the first one after it begins (null: nothing runs it)
    Column("last_occurrence", Moment),
    Column("next_execution_time", Moment),
    Index("ix_protection_flows_newest", "created_at", "id"),
    Index("ix_protection_flows_target", "target_id", "target_type"),
    Index("ix_protection_flows_enabled", "enabled"),
    unique=True,
)

executions = Table(
    "protection_flow_executions",
    metadata,
    _id(primary_key=True),
    _id("flow_id", ForeignKey("protection_flows.id", ondelete="CASCADE")),  # null: an ad hoc backup
    Column("flow_name", String(255), nullable=False),
    Column("status", String(16), nullable=False, index=True),
    Column("execution_type", String(16), nullable=False),
    Column("triggered_by", String(255), nullable=False),
    Column("occurrence", Moment),
    Column("created_at", Moment, nullable=False),  # when it began, or began to wait for its turn
    Column("started_at", Moment),  # null while it waits, and for ever when its turn did not come
    Column("completed_at", Moment),
    _id("repository_id"),
    _id("policy_id"),
    _id("retry_of", index=True),
    _id("backfill_id", index=True),
    Column("priority", Integer, nullable=False),
    Column("max_concurrent_jobs", Integer),
    # as `flow.completed` counted them; while an execution runs, its jobs are counted by each query
    Column("jobs_created", Integer, nullable=False),
    Column("jobs_completed", Integer, nullable=False, server_default="0"),
    Column("jobs_failed", Integer, nullable=False, server_default="0"),
    Column("jobs_skipped", Integer, nullable=False, server_default="0"),
    Column("vms_processed", Integer, nullable=False, server_default="0"),
    Column("execution_time_seconds", Float),
    Column("bytes_transferred", BigInteger, nullable=False, server_default="0"),
    Column("error_message", Text),
    Column("excluded", JSON, nullable=False),
    Column("created_job_ids", JSON, nullable=False, server_default="[]"),  # in the order of the plan
    Index("ix_protection_flow_executions_flow", "flow_id", "created_at", "id"),
    Index("ix_protection_flow_executions_occurrence", "flow_id", "occurrence"),
    Index("ix_protection_flow_executions_completed", "completed_at"),
    Index("ix_protection_flow_executions_newest", "created_at", "id"),
    Index("ix_protection_flow_executions_started", "started_at"),
)

backup_jobs = Table(
    "backup_jobs",
    metadata,
    _id(primary_key=True),
    _id("execution_id", ForeignKey("protection_flow_executions.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    _id("context_id", nullable=False),
    Column("vm_name", String(255), nullable=False),
    _id("repository_id"),  # null until it is requested
    Column("status", String(16), nullable=False),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("round", Integer, nullable=False, server_default="0"),  # how many times it was requested
    Column("worker", String(255)),
    Column("progress_percent", Integer, nullable=False, server_default="0"),
    Column("bytes_read", BigInteger, nullable=False, server_default="0"),
    Column("bytes_transferred", BigInteger, nullable=False, server_default="0"),
    Column("created_at", Moment, nullable=False),
    Column("requested_at", Moment),
    Column("started_at", Moment),
    Column("completed_at", Moment),
    Column("error_message", Text),
    Column("first_error", Text),  # of the first attempt that failed, whatever came of it
    Column("snapshot_ref", Text),
    Column("disks_count", Integer, nullable=False, server_default="0"),  # of its request
    Column("worker_labels", JSON, nullable=False, server_default="{}"),  # of its request
    Index("ix_backup_jobs_repository", "repository_id", "status", "completed_at"),
    Index("ix_backup_jobs_execution", "execution_id", "position"),
    Index("ix_backup_jobs_days", "context_id", "created_at", "status"),
    Index("ix_backup_jobs_last_good", "context_id", "status", "completed_at"),
)

notifications = _definition(
    "notifications",
    Column("events", JSON, nullable=False),
    Column("severity", String(16), nullable=False),
    Column("flows", JSON, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("first_failure", Boolean, nullable=False),
    Column("recovered", Boolean, nullable=False),
    Column("digest_minutes", Integer),
    Column("digest_at", String(16)),
    Column("timezone", String(64), nullable=False),
    Column("digest_empty", Boolean, nullable=False),
    Column("receiver", String(16), nullable=False),
    Column("url", Text),
    Column("secret_env", String(255)),
    Column("secret_file", Text),
)

# messages to people; `settled_at`: when one was delivered or dropped
deliveries = Table(
    "notification_deliveries",
    metadata,
    _id(primary_key=True),
    _id("notification_id", nullable=False),
    Column("sequence", BigInteger, nullable=False),  # of what made it due
    Column("state", String(16), nullable=False),  # waiting, retrying, delivered, dropped
    Column("severity", String(16), nullable=False),
    Column("title", Text, nullable=False),
    Column("events", Integer, nullable=False),  # how many it tells of
    Column("created_at", Moment, nullable=False),
    Column("retrying_since", Moment),
    Column("next_try", Moment),
    Column("last_error", Text),
    Column("reply", Text),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("settled_at", Moment),
    Index("ix_notification_deliveries_notification", "notification_id", "sequence"),
    Index("ix_notification_deliveries_state", "state", "notification_id"),
)

DEFINITIONS = text("subject LIKE 'catalog.%'")  # events that are definitions; to be given as it is, for the index

commands = Table(
    "commands",
    metadata,
    _id(primary_key=True),
    Column("sequence", BigInteger, nullable=False, unique=True),
    Column("entity", String(16), nullable=False),
    Column("verb", String(32), nullable=False),
    _id("entity_id", nullable=False, index=True),
    Column("actor", String(255), nullable=False),
    Column("time", Moment, nullable=False),
    Column("outcome", String(16), nullable=False),  # pending, accepted, rejected
    Column("outcome_sequence", BigInteger),
    Column("code", String(32)),
    Column("reason", Text),
    Column("field", String(255)),
)

events = Table(
    "events",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("subject", String(255), nullable=False),
    Column("type", String(64), nullable=False, index=True),
    Column("time", Moment, nullable=False),
    Column("key", String(64), nullable=False),
    _id("correlation", index=True),
    Column("body", Text, nullable=False),
    Index("ix_events_key", "key", "sequence"),
    # of definitions alone, which are few: what a definition was before a change
    Index("ix_events_definitions", "subject", "sequence", sqlite_where=DEFINITIONS, postgresql_where=DEFINITIONS),
)

# what is on the log, to recognise its repetitions; kept when the rows are gone
identities = Table(
    "identities",
    metadata,
    Column("id", String(192), primary_key=True),
    Column("number", BigInteger, nullable=False),  # a definition's version, else 1
)

projection = Table(
    "projection",
    metadata,
    Column("stream", String(64), primary_key=True),
    Column("stream_created", String(64), nullable=False),
    Column("position", BigInteger, nullable=False),
)
