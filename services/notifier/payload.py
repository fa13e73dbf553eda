"""Payload: what a webhook is called with, and its signature. Pure.

The signature is HMAC-SHA256 over `<timestamp>.<body>`, with the key that both sides have. A receiver that verifies it
knows who called, and that a call is not an old one (docs/notifications.md).
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType

from schemas.base import Value
from schemas.events import NotificationDue
from schemas.notifications import Notification, Notified, Severity

CONTENT_TYPE = "application/cloudevents+json"
DELIVERY, TIMESTAMP, SIGNATURE = "Flows-Delivery", "Flows-Timestamp", "Flows-Signature"


class Rule(Value, frozen=True, kw_only=True):
    """The notification that a message comes from."""

    id: str
    name: str


class Told(Value, frozen=True, kw_only=True):
    """What a message says: `total` events, of which `events` are the first. `link`: the execution of a single one."""

    notification: Rule
    severity: Severity
    title: str
    text: str
    total: int
    events: list[Notified]
    test: bool = False
    link: str | None = None


class Call(Value, frozen=True, kw_only=True):
    """The body of a webhook's request: a CloudEvent. `id` is the delivery's, the same at each attempt."""

    specversion: str
    id: str
    type: str
    source: str
    time: datetime
    subject: str | UnsetType = UNSET
    datacontenttype: str = "application/json"
    data: Told


def body(definition: Notification, due: NotificationDue, at: datetime, *, api_url: str, test: bool = False) -> bytes:
    """Return the body for a message that became due at `at`. `api_url`: where people reach the API."""
    one = due.events[0] if due.total == 1 and due.events else None
    told = Told(
        notification=Rule(id=definition.id, name=definition.name),
        severity=due.severity,
        title=due.title,
        text=due.body,
        total=due.total,
        events=due.events,
        test=test,
        link=link(one, api_url),
    )
    call = Call(
        specversion="1.0",
        id=due.delivery_id,
        type="test" if test else one.type if one is not None else "digest",
        source=f"{api_url}/api/v1/notifications/{definition.id}",
        time=at,
        subject=one.flow_id if one is not None else UNSET,
        data=told,
    )
    return msgspec.json.encode(call)


def link(one: Notified | None, api_url: str) -> str | None:
    """Return where the API shows the execution that an event is about."""
    if one is None or one.execution_id is None:
        return None
    return f"{api_url}/api/v1/executions/{one.execution_id}"


def signature(key: bytes, timestamp: str, sent: bytes) -> str:
    """Return the signature of a body that is sent at a time (seconds since 1970, as text)."""
    return "sha256=" + hmac.new(key, timestamp.encode() + b"." + sent, hashlib.sha256).hexdigest()
