"""Notifications: a row for each message, and what became of it. Pure."""

from __future__ import annotations

from bus.envelope import Stored
from schemas import tables as t
from schemas.events import (
    NotificationDelivered,
    NotificationDropped,
    NotificationDue,
    NotificationEvent,
    NotificationFailed,
)
from services.recorder.changes import Changes, Unprojectable, fitting
from services.recorder.known import Row


def project_notification(changes: Changes, entry: Stored, event: NotificationEvent) -> None:
    """Make the row of a message that is due, or change it. Who holds the claim is in no row."""
    at = entry.envelope.time
    match event:
        case NotificationDue():
            _due(changes, entry, event)
        case NotificationFailed():
            change: Row = {"state": "retrying", "retrying_since": at, "next_try": event.next_try}
            _change(changes, event.delivery_id, change | {"last_error": event.reason, "attempts": event.attempt})
        case NotificationDelivered():
            change = {"state": "delivered", "settled_at": at, "next_try": None, "reply": event.reply}
            _change(changes, event.delivery_id, change | {"attempts": event.attempts})
        case NotificationDropped():
            change = {"state": "dropped", "settled_at": at, "next_try": None, "last_error": event.reason}
            _change(changes, event.delivery_id, change)
        case _:
            pass


def _due(changes: Changes, entry: Stored, event: NotificationDue) -> None:
    identity = f"delivery/{event.delivery_id}"
    if identity in changes.known.identities:
        raise Unprojectable("repeated", f"the message {event.delivery_id} is due already")
    row: Row = {
        "id": event.delivery_id,
        "notification_id": event.notification_id,
        "sequence": entry.sequence,
        "state": "waiting",
        "severity": event.severity,
        "title": event.title,
        "events": event.total,
        "created_at": entry.envelope.time,
        "retrying_since": None,
        "next_try": None,
        "last_error": None,
        "reply": None,
        "attempts": 0,
        "settled_at": None,
    }
    changes.new_deliveries[event.delivery_id] = fitting(t.deliveries, row)
    changes.identify(identity)


def _change(changes: Changes, delivery_id: str, values: Row) -> None:
    """Change a message's row; that of a message which has gone with its notification is there no more."""
    fitting(t.deliveries, values)
    row = changes.new_deliveries.get(delivery_id)
    if row is None:
        row = changes.delivery_changes.setdefault(delivery_id, {})
    row.update(values)
