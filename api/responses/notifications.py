"""Notifications and their messages."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from schemas.base import Value
from schemas.notifications import Notification, Severity

DeliveryState = Literal["waiting", "retrying", "delivered", "dropped"]


class NotificationResponse(Notification, frozen=True, kw_only=True):
    """A notification. `flow_names`: what `flows` are called; `waiting`: messages that its receiver has not had yet.

    `retrying_since`: since when the receiver has not taken what it is to get next, and `last_error` why.
    """

    flow_names: list[str]
    waiting: int
    retrying_since: datetime | None
    last_error: str | None


class NotificationList(Value, frozen=True, kw_only=True):
    notifications: list[NotificationResponse]
    total: int


class Delivery(Value, frozen=True, kw_only=True):
    """A message, and what became of it. `events`: how many it tells of; `reply`: what the receiver said."""

    id: str
    notification_id: str
    state: DeliveryState
    severity: Severity
    title: str
    events: int
    created_at: datetime
    retrying_since: datetime | None
    next_try: datetime | None
    last_error: str | None
    reply: str | None
    attempts: int
    settled_at: datetime | None


class DeliveryList(Value, frozen=True, kw_only=True):
    deliveries: list[Delivery]
    total: int


class NotificationTest(Value, frozen=True, kw_only=True):
    """What came of a test message. `reply`: what the receiver said, or why it did not get it; `status`: of HTTP."""

    delivered: bool
    status: int | None
    reply: str
    duration_seconds: float
