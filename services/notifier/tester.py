"""The tester: sends a marked message at once when somebody asks, and says what the receiver replied."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from uuid import uuid4

import msgspec

from bus.clock import Clock
from bus.errors import Unavailable
from bus.log import Log
from bus.replies import Reply
from bus.tasks import cancel_and_wait
from schemas.events import NotificationDue
from schemas.notifications import Notification
from services.notifier import messages
from services.notifier.delivery import Deliveries
from services.notifier.trying import QUEUE, SUBJECT, Trial, TrialResult, is_read, unknown

log = logging.getLogger(__name__)

AT_ONCE = 8
LOOKS = 200  # for a change that was just made
LOOK_EVERY = 0.05  # seconds; all looks and the receiver's time together are less than who asks waits


class Tester:
    """Replies to trials. `find` returns a notification as this notifier has read it."""

    def __init__(self, deliveries: Deliveries, find: Callable[[str], Notification | None], clock: Clock) -> None:
        self._deliveries = deliveries
        self._find = find
        self._clock = clock
        self._trials: set[asyncio.Task[None]] = set()

    async def open(self, flows_log: Log) -> None:
        """Reply from now on. Raises `Unavailable`."""
        await flows_log.respond(SUBJECT, self._begin, queue=QUEUE)

    async def close(self) -> None:
        """Let go of what is under way."""
        await cancel_and_wait(*self._trials)

    async def _begin(self, body: bytes, reply: Reply) -> None:
        if len(self._trials) < AT_ONCE:
            trial = asyncio.create_task(self._try(body, reply))
            self._trials.add(trial)
            trial.add_done_callback(self._trials.discard)

    async def _try(self, body: bytes, reply: Reply) -> None:
        with suppress(msgspec.MsgspecError, Unavailable):  # of a version that asks otherwise; or nobody waits any more
            await reply(msgspec.json.encode(await self._tried(msgspec.json.decode(body, type=Trial))))

    async def _as_new(self, trial: Trial) -> Notification | None:
        """Return a notification as new as the one that is meant. None: it is not read yet, however long that took."""
        for _ in range(LOOKS):
            definition = self._find(trial.notification_id)
            if is_read(trial, definition):
                return definition
            await asyncio.sleep(LOOK_EVERY)
        return None

    async def _tried(self, trial: Trial) -> TrialResult:
        definition = await self._as_new(trial)
        if definition is None:
            return unknown(trial)
        began = asyncio.get_running_loop().time()
        try:
            outcome = await self._deliveries.attempt(
                definition, _message(definition), self._clock(), self._clock(), test=True
            )
        except Exception:
            log.exception("a test message failed", extra={"action": "notification_test_failed", "part": "notifier"})
            return TrialResult(delivered=False, reply="the notifier could not try: its own log says why")
        took = asyncio.get_running_loop().time() - began
        return TrialResult(
            delivered=outcome.delivered, reply=outcome.reply, status=outcome.status, duration_seconds=round(took, 3)
        )


def _message(definition: Notification) -> NotificationDue:
    title, text = messages.of_test(definition.name)
    return NotificationDue(
        notification_id=definition.id,
        delivery_id=f"test-{uuid4()}",
        through=0,
        total=0,
        severity="info",
        title=title,
        body=text,
        events=[],
    )
