"""The heartbeat: shows every few seconds, beside the log, that a service lives and advances.

It comes from the event loop that the service works on: a process that is stopped, or stands still, gives none.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version

import msgspec

from bus.clock import now
from bus.connection import worker_name
from bus.errors import Unavailable
from bus.log import Log
from schemas.base import Value
from services import health

EVERY = 5.0  # seconds between two heartbeats
EARLIER = 6  # heartbeats: half a minute
KEPT = 3600.0  # seconds for which a heartbeat that nobody renews stays for operators to see
TIDY_EVERY = 600.0  # seconds between searches for those

VERSION = version("protection-flows-engine")
_ALL = (">",)


class Process(Value, frozen=True, kw_only=True):
    """What a supervisor says of this process.

    `instance`: its name among all processes of its service, the same after a restart; None: host and process id.
    `restarts`: how often it was started again in the last ten minutes. `enrolment`: the name by which a worker is
    enrolled, whose heartbeats stand under keys of its own.
    """

    instance: str | None = None
    restarts: int = 0
    enrolment: str | None = None


UNSUPERVISED = Process()


class Heartbeats:
    """The heartbeats of one service in this process. `reads`: the subject filters that its position is about."""

    def __init__(
        self, log: Log, service: str, reads: Sequence[str], position: Callable[[], int], process: Process
    ) -> None:
        self._log = log
        self._reads = tuple(reads)
        self._position = position
        own = f"{process.enrolment}." if process.enrolment else ""
        instance = f"{own}{process.instance or worker_name()}"
        self._tidied_keys = health.key_of(service, own)
        self._key = health.key_of(service, instance)
        self._value = health.Heartbeat(
            service=service,
            instance=instance,
            host=os.uname().nodename,
            pid=os.getpid(),
            version=VERSION,
            started_at=now(),
            restarts=process.restarts,
        )
        self._started = asyncio.Event()  # the service has a position
        self._lags: deque[int] = deque(maxlen=EARLIER)
        self._advanced = 0.0  # the loop's time when the position was last seen to move, or nothing was left to read
        self._end = (0, 0)  # the log's last sequence, and the last one of what is read
        self._tidied = float("-inf")

    async def run(self) -> None:
        """Give heartbeats until cancelled. Without the log there are none: whoever asks has no log either."""
        while True:
            started = self._started.is_set()
            with suppress(Unavailable):
                await self.give()
                await self._tidy()
            if started:
                await asyncio.sleep(EVERY)
            else:  # the heartbeat of the start does not wait
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._started.wait(), EVERY)

    def start(self) -> None:
        """Tell from now on where the service is on the log: it has started."""
        self._started.set()

    async def give(self) -> None:
        """Publish one heartbeat. Raises `Unavailable`."""
        if self._started.is_set():
            await self._measure()
        await self._log.put_status(self._key, msgspec.to_builtins(self._value))

    async def leave(self) -> None:
        """Say nothing more: the service is to end. Raises `Unavailable`."""
        await self._log.delete_status(self._key)

    async def _measure(self) -> None:
        time = asyncio.get_running_loop().time()
        end = await self._last()
        position = self._position()
        lag = max(0, end - position)
        if not lag or position != self._value.position:
            self._advanced = time
        earlier = self._lags[0] if self._lags else lag
        self._lags.append(lag)
        self._value = msgspec.structs.replace(
            self._value, position=position, lag=lag, earlier_lag=earlier, stalled=time - self._advanced
        )

    async def _last(self) -> int:
        """Return the sequence of the last message on what is read. Asked for only when the log has become longer."""
        whole = (await self._log.identity()).last_sequence
        if whole != self._end[0]:
            if self._reads == _ALL:
                self._end = (whole, whole)
            else:
                parts = await asyncio.gather(*map(self._log.last_sequence, self._reads))
                self._end = (whole, max(parts, default=0))
        return self._end[1]

    async def _tidy(self) -> None:
        """Delete the heartbeats of processes that ended long ago."""
        time = asyncio.get_running_loop().time()
        if time - self._tidied > TIDY_EVERY:
            self._tidied = time
            statuses, at = await self._log.statuses(self._tidied_keys), await self._log.time()
            for key in health.expired(statuses, now=at, keep=KEPT):
                await self._log.delete_status(key)
