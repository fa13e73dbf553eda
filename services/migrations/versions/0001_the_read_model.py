"""The read model as it was first."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

LOSES = (
    *("commands", "events", "projection", "freezes", "protection_flows", "protection_flow_executions", "backup_jobs"),
    *("vms", "machine_groups", "machine_group_members", "schedules", "repositories", "policies"),
)


def upgrade() -> None:
    op.create_table(
        "commands",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("entity", sa.String(length=16), nullable=False),
        sa.Column("verb", sa.String(length=32), nullable=False),
        sa.Column("entity_id", sa.String(length=64), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("outcome_sequence", sa.BigInteger(), nullable=True),
        sa.Column("code", sa.String(length=32), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("field", sa.String(length=255), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("sequence"),
    )
    with op.batch_alter_table("commands", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_commands_entity_id"), ["entity_id"], unique=False)

    op.create_table(
        "events",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("correlation", sa.String(length=64), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
    )
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_events_correlation"), ["correlation"], unique=False)
        batch_op.create_index("ix_events_key", ["key", "sequence"], unique=False)
        batch_op.create_index(batch_op.f("ix_events_type"), ["type"], unique=False)

    op.create_table(
        "freezes",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "machine_groups",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("machine_groups", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_machine_groups_name"), ["name"], unique=False)

    op.create_table(
        "policies",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=False),
        sa.Column("keep_last", sa.Integer(), nullable=True),
        sa.Column("keep_daily", sa.Integer(), nullable=True),
        sa.Column("keep_weekly", sa.Integer(), nullable=True),
        sa.Column("keep_monthly", sa.Integer(), nullable=True),
        sa.Column("keep_yearly", sa.Integer(), nullable=True),
        sa.Column("backup_type", sa.String(length=16), nullable=False),
        sa.Column("retry_attempts", sa.Integer(), nullable=False),
        sa.Column("retry_delay_seconds", sa.Integer(), nullable=False),
        sa.Column("timeout_seconds", sa.Integer(), nullable=True),
        sa.Column("execution_timeout_seconds", sa.Integer(), nullable=True),
        sa.Column("start_deadline_seconds", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("policies", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_policies_name"), ["name"], unique=False)

    op.create_table(
        "projection",
        sa.Column("stream", sa.String(length=64), nullable=False),
        sa.Column("stream_created", sa.String(length=64), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("stream"),
    )
    op.create_table(
        "repositories",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("max_concurrent_jobs", sa.Integer(), nullable=True),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("repositories", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_repositories_name"), ["name"], unique=False)

    op.create_table(
        "schedules",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=False),
        sa.Column("cron_expression", sa.String(length=255), nullable=False),
        sa.Column("more_expressions", sa.JSON(), nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("dst_gap", sa.String(length=16), nullable=False),
        sa.Column("dst_fold", sa.String(length=16), nullable=False),
        sa.Column("exclusions", sa.JSON(), nullable=False),
        sa.Column("inclusions", sa.JSON(), nullable=False),
        sa.Column("start_date", sa.Date(), nullable=True),
        sa.Column("end_date", sa.Date(), nullable=True),
        sa.Column("spread_seconds", sa.Integer(), nullable=False),
        sa.Column("catch_up", sa.String(length=16), nullable=False),
        sa.Column("catch_up_window_seconds", sa.Integer(), nullable=False),
        sa.Column("max_concurrent_jobs", sa.Integer(), nullable=True),
        sa.Column("armed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("schedules", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_schedules_name"), ["name"], unique=False)

    op.create_table(
        "vms",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=False),
        sa.Column("power_state", sa.String(length=64), nullable=False),
        sa.Column("os_type", sa.String(length=64), nullable=False),
        sa.Column("cpu_count", sa.Integer(), nullable=False),
        sa.Column("memory_mb", sa.Integer(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("disks", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("vms", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_vms_name"), ["name"], unique=False)

    op.create_table(
        "machine_group_members",
        sa.Column("group_id", sa.String(length=64), nullable=False),
        sa.Column("context_id", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["context_id"], ["vms.id"], name=op.f("fk_machine_group_members_context_id")),
        sa.ForeignKeyConstraint(
            ["group_id"], ["machine_groups.id"], name=op.f("fk_machine_group_members_group_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("group_id", "context_id"),
    )
    with op.batch_alter_table("machine_group_members", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_machine_group_members_context_id"), ["context_id"], unique=False)

    op.create_table(
        "protection_flows",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=False),
        sa.Column("flow_type", sa.String(length=16), nullable=False),
        sa.Column("target_type", sa.String(length=16), nullable=False),
        sa.Column("target_id", sa.String(length=64), nullable=False),
        sa.Column("repository_id", sa.String(length=64), nullable=True),
        sa.Column("policy_id", sa.String(length=64), nullable=True),
        sa.Column("schedule_id", sa.String(length=64), nullable=True),
        sa.Column("destination_type", sa.String(length=64), nullable=True),
        sa.Column("destination_config", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("overlap_policy", sa.String(length=16), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("max_concurrent_jobs", sa.Integer(), nullable=True),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("armed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("total_executions", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("successful_executions", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failed_executions", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_execution_id", sa.String(length=64), nullable=True),
        sa.Column("last_execution_status", sa.String(length=16), server_default="pending", nullable=False),
        sa.Column("last_execution_time", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["policy_id"], ["policies.id"], name=op.f("fk_protection_flows_policy_id")),
        sa.ForeignKeyConstraint(["repository_id"], ["repositories.id"], name=op.f("fk_protection_flows_repository_id")),
        sa.ForeignKeyConstraint(["schedule_id"], ["schedules.id"], name=op.f("fk_protection_flows_schedule_id")),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("protection_flows", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_protection_flows_name"), ["name"], unique=False)
        batch_op.create_index("ix_protection_flows_newest", ["created_at", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_protection_flows_policy_id"), ["policy_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_protection_flows_repository_id"), ["repository_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_protection_flows_schedule_id"), ["schedule_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_protection_flows_target_id"), ["target_id"], unique=False)

    op.create_table(
        "protection_flow_executions",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("flow_id", sa.String(length=64), nullable=True),
        sa.Column("flow_name", sa.String(length=255), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("execution_type", sa.String(length=16), nullable=False),
        sa.Column("triggered_by", sa.String(length=255), nullable=False),
        sa.Column("occurrence", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("repository_id", sa.String(length=64), nullable=True),
        sa.Column("policy_id", sa.String(length=64), nullable=True),
        sa.Column("retry_of", sa.String(length=64), nullable=True),
        sa.Column("backfill_id", sa.String(length=64), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("max_concurrent_jobs", sa.Integer(), nullable=True),
        sa.Column("jobs_created", sa.Integer(), nullable=False),
        sa.Column("jobs_completed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("jobs_failed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("jobs_skipped", sa.Integer(), server_default="0", nullable=False),
        sa.Column("bytes_transferred", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("excluded", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["flow_id"], ["protection_flows.id"], name=op.f("fk_protection_flow_executions_flow_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("protection_flow_executions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_protection_flow_executions_backfill_id"), ["backfill_id"], unique=False)
        batch_op.create_index("ix_protection_flow_executions_flow", ["flow_id", "started_at", "id"], unique=False)
        batch_op.create_index("ix_protection_flow_executions_newest", ["started_at", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_protection_flow_executions_retry_of"), ["retry_of"], unique=False)
        batch_op.create_index(batch_op.f("ix_protection_flow_executions_status"), ["status"], unique=False)

    op.create_table(
        "backup_jobs",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("execution_id", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("context_id", sa.String(length=64), nullable=False),
        sa.Column("vm_name", sa.String(length=255), nullable=False),
        sa.Column("repository_id", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("worker", sa.String(length=255), nullable=True),
        sa.Column("progress_percent", sa.Integer(), server_default="0", nullable=False),
        sa.Column("bytes_read", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bytes_transferred", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("first_error", sa.Text(), nullable=True),
        sa.Column("snapshot_ref", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["protection_flow_executions.id"],
            name=op.f("fk_backup_jobs_execution_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("backup_jobs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_backup_jobs_context_id"), ["context_id"], unique=False)
        batch_op.create_index("ix_backup_jobs_execution", ["execution_id", "position"], unique=False)
        batch_op.create_index(batch_op.f("ix_backup_jobs_repository_id"), ["repository_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("backup_jobs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_backup_jobs_repository_id"))
        batch_op.drop_index("ix_backup_jobs_execution")
        batch_op.drop_index(batch_op.f("ix_backup_jobs_context_id"))

    op.drop_table("backup_jobs")
    with op.batch_alter_table("protection_flow_executions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_protection_flow_executions_status"))
        batch_op.drop_index(batch_op.f("ix_protection_flow_executions_retry_of"))
        batch_op.drop_index("ix_protection_flow_executions_newest")
        batch_op.drop_index("ix_protection_flow_executions_flow")
        batch_op.drop_index(batch_op.f("ix_protection_flow_executions_backfill_id"))

    op.drop_table("protection_flow_executions")
    with op.batch_alter_table("protection_flows", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_protection_flows_target_id"))
        batch_op.drop_index(batch_op.f("ix_protection_flows_schedule_id"))
        batch_op.drop_index(batch_op.f("ix_protection_flows_repository_id"))
        batch_op.drop_index(batch_op.f("ix_protection_flows_policy_id"))
        batch_op.drop_index("ix_protection_flows_newest")
        batch_op.drop_index(batch_op.f("ix_protection_flows_name"))

    op.drop_table("protection_flows")
    with op.batch_alter_table("machine_group_members", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_machine_group_members_context_id"))

    op.drop_table("machine_group_members")
    with op.batch_alter_table("vms", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_vms_name"))

    op.drop_table("vms")
    with op.batch_alter_table("schedules", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_schedules_name"))

    op.drop_table("schedules")
    with op.batch_alter_table("repositories", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_repositories_name"))

    op.drop_table("repositories")
    op.drop_table("projection")
    with op.batch_alter_table("policies", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_policies_name"))

    op.drop_table("policies")
    with op.batch_alter_table("machine_groups", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_machine_groups_name"))

    op.drop_table("machine_groups")
    op.drop_table("freezes")
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_events_type"))
        batch_op.drop_index("ix_events_key")
        batch_op.drop_index(batch_op.f("ix_events_correlation"))

    op.drop_table("events")
    with op.batch_alter_table("commands", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_commands_entity_id"))

    op.drop_table("commands")
