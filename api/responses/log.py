"""The log's own messages, and commands with their outcomes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from schemas.base import Value


class LoggedEvent(Value, frozen=True, kw_only=True):
    """A message of the log: where it stands, and the CloudEvent as it is."""

    sequence: int
    subject: str
    event: Any


class LiveTicket(Value, frozen=True, kw_only=True):
    """What opens `GET /api/v1/events?ticket=` once, until it ends."""

    ticket: str
    expires_at: datetime


class EventList(Value, frozen=True, kw_only=True):
    events: list[LoggedEvent]
    total: int


class CommandResponse(Value, frozen=True, kw_only=True):
    """A command and what became of it. `outcome`: `pending`, `accepted` or `rejected`."""

    id: str
    entity: str
    verb: str
    entity_id: str
    actor: str
    time: datetime
    outcome: str
    code: str | None
    reason: str | None
    field: str | None


class AuditEntry(CommandResponse, frozen=True, kw_only=True):
    """A command with what it requests, and the definition before and after when it was accepted."""

    sequence: int
    request: dict[str, Any] | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class AuditList(Value, frozen=True, kw_only=True):
    commands: list[AuditEntry]
    total: int
