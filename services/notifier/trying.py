"""Trying a notification: what a request for a test message says, and what comes back. It is beside the log. Pure."""

from __future__ import annotations

from schemas.base import Value
from schemas.notifications import Notification

SUBJECT = "notifier.test"  # no subject of the log
QUEUE = "notifier"  # one of all notifiers gets a request


class Trial(Value, frozen=True, kw_only=True):
    """Which notification to try, and from which version on: that of a change that was just made."""

    notification_id: str
    version: int


class TrialResult(Value, frozen=True, kw_only=True):
    """What came of it. `reply`: what the receiver said, or why there was nothing; `status`: of HTTP."""

    delivered: bool
    reply: str
    status: int | None = None
    duration_seconds: float = 0.0


def unknown(request: Trial) -> TrialResult:
    """Return the result for a notification that the notifier has not read as it is meant, or that is gone."""
    return TrialResult(
        delivered=False,
        reply=f"the notifier has not read version {request.version} of notification {request.notification_id!r} yet: "
        "try again",
    )


def is_read(request: Trial, found: Notification | None) -> bool:
    """Tell whether a notification is as new as the one that was asked for."""
    return found is not None and found.version >= request.version
