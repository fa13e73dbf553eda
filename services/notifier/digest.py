"""Digests: when what was collected is sent. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from schemas.notifications import Notification
from services.notifier.messages import zone_called


def last_end(notification: Notification, at: datetime) -> datetime | None:
    """Return the last time of day `digest_at` that has passed at an instant; None for another kind of digest."""
    if notification.digest_at is None:
        return None
    zone = zone_called(notification.timezone)
    clock = time.fromisoformat(notification.digest_at)
    today = at.astimezone(zone).date()
    # a clock that is put forward or back makes days of other lengths, so more than one is looked at
    ends = (datetime.combine(today - timedelta(days=back), clock, zone).astimezone(UTC) for back in (-1, 0, 1, 2))
    return max(end for end in ends if end <= at)


def next_end(notification: Notification, at: datetime) -> datetime | None:
    """Return the first time of day `digest_at` after an instant; None for another kind of digest."""
    if notification.digest_at is None:
        return None
    zone = zone_called(notification.timezone)
    clock = time.fromisoformat(notification.digest_at)
    today = at.astimezone(zone).date()
    ends = (datetime.combine(today + timedelta(days=ahead), clock, zone).astimezone(UTC) for ahead in (-1, 0, 1, 2))
    return min(end for end in ends if end > at)


def ends_at(notification: Notification, first: datetime) -> datetime | None:
    """Return when what began to be collected at `first` is sent; None: nothing is collected."""
    if notification.digest_minutes is not None:
        return first + timedelta(minutes=notification.digest_minutes)
    return next_end(notification, first)
