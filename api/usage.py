"""When tokens were last used, and last refused: about, and beside the log. Never a fact."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta

from bus.errors import LogError
from bus.log import Log
from schemas.base import Value

EVERY = timedelta(minutes=1)  # a use that comes sooner after another is not kept
_USED, _REFUSED = "token.used.", "token.refused."  # what keys of the bucket begin with


class LastUse(Value, frozen=True, kw_only=True):
    """When a token was last used, and when it was last refused, to the minute; None: never, or nobody knows."""

    used: datetime | None
    refused: datetime | None


class Usage:
    """Keeps when tokens are used, once a minute for each of them. Requests do not wait for it."""

    def __init__(self) -> None:
        self._kept: dict[str, datetime] = {}  # by key
        self._due: dict[str, None] = {}  # keys, the oldest first
        self._called = asyncio.Event()

    def used(self, token_id: str, at: datetime) -> None:
        self._note(_USED + token_id, at)

    def refused(self, token_id: str, at: datetime) -> None:
        self._note(_REFUSED + token_id, at)

    def _note(self, key: str, at: datetime) -> None:
        if (last := self._kept.get(key)) is None or at - last >= EVERY:
            self._kept[key] = at
            self._due[key] = None
            self._called.set()

    async def run(self, log: Log) -> None:
        """Keep what is noted until cancelled. What the log does not take is lost, until it is noted again."""
        while True:
            await self._called.wait()
            self._called.clear()
            while self._due:
                key = next(iter(self._due))
                del self._due[key]
                with suppress(LogError):
                    await log.put_status(key, {})


async def last_use(log: Log, token_id: str) -> LastUse:
    """Return when a token was last used, and refused, by the server's clock. Raises `LogError`."""
    used, refused = await asyncio.gather(log.get_status(_USED + token_id), log.get_status(_REFUSED + token_id))
    return LastUse(used=used.at if used else None, refused=refused.at if refused else None)
