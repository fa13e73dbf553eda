"""Delivery: one attempt to bring a message to its receiver, whatever that is."""

from __future__ import annotations

import asyncio
from datetime import datetime

from schemas.base import Value
from schemas.events import NotificationDue
from schemas.notifications import Notification
from services.notifier import payload, relaying, webhook
from services.notifier.references import Missing, secret
from services.notifier.targets import NOTHING, Allowed, Refused


class Outcome(Value, frozen=True, kw_only=True):
    """What came of an attempt. `reply`: the first of what the receiver said; `over`: another attempt is of no use."""

    delivered: bool
    reply: str
    status: int | None = None
    over: bool = False


class Deliveries:
    """Makes attempts. `allowed`: what may be reached although it is not public; `timeout`: seconds for one attempt.

    `api_url`: where people reach the API, for links.
    """

    def __init__(self, *, allowed: Allowed = NOTHING, api_url: str = "", timeout: float = 15.0) -> None:
        self._allowed = allowed
        self._api_url = api_url
        self._timeout = timeout

    async def attempt(
        self, definition: Notification, due: NotificationDue, at: datetime, now: datetime, *, test: bool = False
    ) -> Outcome:
        """Bring a message that became due at `at` to its receiver, at `now`. Raises nothing that a receiver causes."""
        try:
            async with asyncio.timeout(self._timeout):
                key = await secret(definition)
                if definition.receiver == "apprise":
                    text = due.body if (link := self._link(due)) is None else f"{due.body}\n\n{link}"
                    reply = await relaying.relay(key, due.title, text, due.severity, self._allowed)
                    return Outcome(delivered=True, reply=reply)
                sent = payload.body(definition, due, at, api_url=self._api_url, test=test)
                assert definition.url is not None
                reply = await webhook.call(definition.url, sent, due.delivery_id, key.encode(), now, self._allowed)
        except (Missing, Refused, webhook.Failed, relaying.Failed) as error:
            return Outcome(delivered=False, reply=str(error))
        except TimeoutError:
            return Outcome(delivered=False, reply=f"there was no reply within {self._timeout:g} s")
        shown = f"{reply.status} {reply.reason}".strip() + (f": {reply.text}" if reply.text else "")
        accepted = 200 <= reply.status < 300
        return Outcome(delivered=accepted, reply=shown, status=reply.status, over=reply.status == webhook.GONE)

    def _link(self, due: NotificationDue) -> str | None:
        one = due.events[0] if due.total == 1 and due.events else None
        return payload.link(one, self._api_url) if self._api_url else None
