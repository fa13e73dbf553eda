"""Deterministic ids: the same thing has the same id, however often it is requested."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid5

ENGINE = "engine"  # the id of what is about the whole engine
AD_HOC = "adhoc"  # stands for the flow's id in events of backups outside any flow

_NAMESPACE = UUID("6f7a1c1e-4c0a-5b8e-9b57-3f2c0d1e8a44")


def derived(kind: str, *parts: str) -> str:
    """Return an id that depends on `kind` and `parts` alone. Parts are joined with `/`, which no id contains."""
    return str(uuid5(_NAMESPACE, "/".join((kind, *parts))))


def scheduled_execution_id(flow_id: str, occurrence: datetime) -> str:
    """Return the id of the execution of a flow at an occurrence, which is a UTC instant."""
    return derived("execution", flow_id, instant(occurrence))


def manual_execution_id(command_id: str) -> str:
    """Return the id of the execution that a `command.flow.execute` starts."""
    return derived("execution", command_id)


def backfill_execution_id(backfill_id: str, occurrence: datetime) -> str:
    """Return the id of the execution of one occurrence in a backfill."""
    return derived("execution", backfill_id, instant(occurrence))


def backup_id(execution_id: str, context_id: str) -> str:
    """Return the id of the backup of one VM in one execution."""
    return derived("backup", execution_id, context_id)


def instant(at: datetime) -> str:
    """Return an RFC 3339 instant in UTC, e.g. `2026-10-09T02:00:00Z`. `at` must know its time zone."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
