"""Trying a notification: only a notifier finds its secrets and reaches its receiver. It has a while for it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from api.problems import ApiError
from bus.errors import Unavailable
from bus.log import Log
from services.notifier.trying import SUBJECT, Trial, TrialResult

PATIENCE = 25.0  # seconds: more than a notifier gives a receiver


async def test(log: Log, notification_id: str, version: int) -> TrialResult:
    """Return what came of a test message. Raises 503 when no notifier replies."""

    def enough(replies: Sequence[bytes]) -> bool:
        return bool(replies)

    body = msgspec.json.encode(Trial(notification_id=notification_id, version=version))
    try:
        replies = await log.request_many(SUBJECT, body, patience=PATIENCE, lull=0.0, enough=enough)
    except Unavailable:
        replies = []
    if not replies:
        raise ApiError(503, "no notifier replies: is one running? `flows serve notifier`, or all with `flows up`")
    return msgspec.json.decode(replies[0], type=TrialResult)
