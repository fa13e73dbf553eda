"""Sending: brings what waits to each receiver, in order and one at a time; no receiver waits for another one.

Any number of notifiers may run: one of them claims a receiver on the log, and keeps it as long as it gives heartbeats.
What became of a message is on the log before the next one is sent. A notifier that dies in between sends it again,
under the same delivery id.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Protocol

from bus.clock import Clock
from bus.errors import LogError
from bus.log import Log
from bus.tasks import cancel_and_wait
from schemas.base import Value, brief
from schemas.events import (
    Event,
    NotificationClaimed,
    NotificationDelivered,
    NotificationDropped,
    NotificationDue,
    NotificationEvent,
    NotificationFailed,
)
from schemas.notifications import Notification
from services.notifier.backoff import Backoff
from services.notifier.delivery import Outcome
from services.notifier.domain import Receiver, State, Waiting

log = logging.getLogger(__name__)


class Pace(Value, frozen=True, kw_only=True):
    """How often things are done, in seconds.

    `silence`: without a heartbeat of the one who claimed a receiver, until another one may claim it. `look`: between
    looks at those heartbeats. `retry`: before the log is asked again that did not reply.
    """

    backoff: Backoff = Backoff()
    silence: float = 20.0
    look: float = 5.0
    retry: float = 1.0


PACE = Pace()


class Attempts(Protocol):
    """Makes one attempt to deliver a message (`delivery.Deliveries`)."""

    async def attempt(self, definition: Notification, due: NotificationDue, at: datetime, now: datetime) -> Outcome: ...


Observe = Callable[[Event, Callable[[], bool]], Awaitable[bool]]
"""Appends what was seen outside the log, if it still holds; returns whether it did. Raises `LogError`."""


class Sending:
    """Delivers what waits in a state. `holder`: the key of this notifier's heartbeat, in whose name it claims.

    `ready`: whether all has been read that was on the log at the start.
    """

    def __init__(
        self,
        log: Log,
        state: State,
        attempts: Attempts,
        observe: Observe,
        *,
        holder: str,
        clock: Clock,
        pace: Pace,
        ready: Callable[[], bool],
    ) -> None:
        self._log = log
        self._state = state
        self._attempts = attempts
        self._observe = observe
        self._holder = holder
        self._clock = clock
        self._pace = pace
        self._ready = ready
        self._news = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def wake(self) -> None:
        """Look again: something of the log has been folded."""
        self._news.set()
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Deliver until cancelled. Raises what an attempt raises that it should not."""
        await self._until(self._ready)
        try:
            while True:
                news = self._news
                for id_ in self._state.receivers:
                    if id_ not in self._tasks and self._state.head(id_) is not None:
                        self._tasks[id_] = asyncio.create_task(self._serve(id_), name=f"notification {id_}")
                waits = [asyncio.create_task(news.wait()), *self._tasks.values()]
                try:
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    await cancel_and_wait(waits[0])
                for id_ in [id_ for id_, task in self._tasks.items() if task.done()]:
                    self._tasks.pop(id_).result()
        finally:
            await cancel_and_wait(*self._tasks.values())

    async def _serve(self, id_: str) -> None:
        """Deliver all that waits for one receiver."""
        while (head := self._state.head(id_)) is not None:
            if not await self._claim(id_):
                await self._changed(self._pace.look)
            else:
                await self._deliver(id_, head)

    # --- claims -------------------------------------------------------------------------------------------------------

    async def _claim(self, id_: str) -> bool:
        """Return whether this notifier delivers to a receiver, after claiming it if nobody does."""
        receiver = self._state.receivers.get(id_)
        if receiver is None:
            return False
        if receiver.holder == self._holder:
            return True
        try:
            if receiver.holder is not None and await self._lives(receiver.holder):
                return False
            number = receiver.claims + 1
            claim = NotificationClaimed(notification_id=id_, number=number, holder=self._holder)

            def holds() -> bool:
                there = self._state.receivers.get(id_)
                return there is not None and there.claims == number - 1

            await self._observe(claim, holds)
        except LogError:
            await self._changed(self._pace.retry)
        else:
            await self._until(lambda: self._claims(id_) >= number)
        return self._is_ours(id_)

    async def _lives(self, holder: str) -> bool:
        status = await self._log.get_status(holder)
        return status is not None and await self._log.time() - status.at < timedelta(seconds=self._pace.silence)

    def _claims(self, id_: str) -> int:
        receiver = self._state.receivers.get(id_)
        return receiver.claims if receiver is not None else 2**63

    def _is_ours(self, id_: str) -> bool:
        receiver = self._state.receivers.get(id_)
        return receiver is not None and receiver.holder == self._holder

    # --- one message --------------------------------------------------------------------------------------------------

    async def _deliver(self, id_: str, head: Waiting) -> None:
        """Try to deliver a message until it is delivered, given up, or not ours any more."""
        due, attempt = head.due, head.attempts
        if head.next_try is not None:
            await self._pause(id_, head, (head.next_try - self._clock()).total_seconds())
        while (receiver := self._ours(id_, head)) is not None:
            attempt += 1
            outcome = await self._attempts.attempt(receiver.definition, due, head.time, self._clock())
            ids = {"notification_id": id_, "delivery_id": due.delivery_id}
            name = receiver.definition.name
            if outcome.delivered:
                log.info("notification %r delivered", name, extra={"action": "notification_delivered", **ids})
                delivered = NotificationDelivered(
                    notification_id=id_, delivery_id=due.delivery_id, attempts=attempt, reply=brief(outcome.reply)
                )
                await self._record(id_, head, delivered)
                return
            about = {"action": "notification_failed", **ids, "attempt": attempt}
            log.warning("notification %r could not be delivered: %s", name, outcome.reply, extra=about)
            if outcome.over:
                reason = f"the receiver wants no further attempt: {outcome.reply}"
                await self._record(
                    id_,
                    head,
                    NotificationDropped(notification_id=id_, delivery_id=due.delivery_id, reason=brief(reason)),
                )
                return
            pause = self._pace.backoff.pause(attempt, random.random())  # noqa: S311  nobody gains by guessing it
            if attempt == 1:
                failed = NotificationFailed(
                    notification_id=id_,
                    delivery_id=due.delivery_id,
                    attempt=attempt,
                    reason=brief(outcome.reply),
                    next_try=self._clock() + timedelta(seconds=pause),
                )
                await self._record(id_, head, failed)
            await self._pause(id_, head, pause)

    def _ours(self, id_: str, head: Waiting) -> Receiver | None:
        """Return the receiver of a message that waits at its head and is ours; None when it is not any more."""
        receiver = self._state.receivers.get(id_)
        ours = receiver is not None and receiver.holder == self._holder and self._state.head(id_) is head
        return receiver if ours else None

    async def _record(self, id_: str, head: Waiting, event: NotificationEvent) -> None:
        """Append what became of a message, and wait until that has been read back; or until it is not ours any more."""

        def settled() -> bool:
            if self._ours(id_, head) is None:
                return True
            return isinstance(event, NotificationFailed) and head.attempts >= event.attempt

        while not settled():
            try:
                if await self._observe(event, lambda: not settled()):
                    await self._until(settled)
            except LogError as error:
                log.warning("%s", error, extra={"action": "append_retry", "part": "notifier"})
                await self._changed(self._pace.retry)

    # --- waiting ------------------------------------------------------------------------------------------------------

    async def _changed(self, seconds: float) -> None:
        """Wait until something has been folded, at most so many seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            await self._news.wait()

    async def _pause(self, id_: str, head: Waiting, seconds: float) -> None:
        """Wait, no longer than the message is ours."""
        until = asyncio.get_running_loop().time() + seconds
        while self._ours(id_, head) is not None and (left := until - asyncio.get_running_loop().time()) > 0:
            await self._changed(left)
