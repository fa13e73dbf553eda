"""The set-up's shell: declares the log, the bucket beside it and the queues, and keeps the queues as they are to be.

It alone may create and change them: every other part waits until they are there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing, suppress

from bus.envelope import Entry
from bus.errors import Unavailable
from bus.identities import POOL_QUEUE
from bus.log import Log
from bus.setup import QUEUES
from bus.stream import ANYWHERE, Placement, Queue, queue_of
from bus.subjects import WORKERS
from bus.tasks import together
from services.hosting import Subscribe
from services.pools import KEY, Pools
from services.pools import READS as REQUESTS
from services.setup.authentication import Authentication
from services.setup.revocation import Revocation

log = logging.getLogger(__name__)

READS = (*REQUESTS, WORKERS)
EVERY = 5.0  # seconds between looks whether the queues are as they are to be
RETIRE_EVERY = 600.0  # seconds between searches for queues that nobody needs any more


class Setup:
    """Declares what the others need. `placement`: where a cluster keeps it.

    `authentication`: tells who enrolled workers are, and `revocation` closes their connections; None: there are none.
    """

    name = "setup"
    reads: Sequence[str] = READS

    def __init__(
        self,
        placement: Placement = ANYWHERE,
        *,
        authentication: Authentication | None = None,
        revocation: Revocation | None = None,
    ) -> None:
        self._placement = placement
        self._authentication = authentication
        self._revocation = revocation
        self._pools = Pools()
        self._start = 1  # all requests before it are over
        self.position = 0

    async def prepare(self, log: Log) -> None:
        """Declare everything that needs no look at the log. Raises `Unavailable`."""
        self._log = log
        await log.declare(QUEUES, self._placement)
        if self._authentication is not None:
            await self._authentication.open(log)  # first of all: workers come back together with the servers

    async def open(self, log: Log, subscribe: Subscribe) -> None:
        """Declare the queues of the pools that open requests are for. Raises `Unavailable`."""
        del subscribe  # nothing to subscribe: the set-up follows
        if self._revocation is not None:  # for what was said while no set-up ran
            self._revocation.take(await log.latest([WORKERS]))
        self.position = (await log.checkpoint("executor")).position
        for entry in await log.read(READS, after=self.position):
            self._take([entry])
            self.position = entry.sequence
        await self._declare_pools()

    async def run(self) -> None:
        """Follow for which workers is requested, and put right what somebody has deleted or changed."""
        parts = [self._follow(), self._keep(), self._retire()]
        if self._revocation is not None:
            parts.append(self._revocation.run())
        await together(*parts)

    def queues(self) -> Sequence[Queue]:
        """Return the queues that are to be there."""
        return (*QUEUES, *self._pools.queues(self._start))

    async def _follow(self) -> None:
        async with aclosing(self._log.follow(READS, after=self.position)) as pages:
            async for page in pages:
                new = self._take(page.entries)
                while new:
                    with suppress(Unavailable):
                        await self._declare_pools()
                        break
                    await asyncio.sleep(EVERY)
                self.position = page.position

    def _take(self, entries: Sequence[Entry]) -> list[Entry]:
        """Take in what the log says, and return the requests whose pools are new."""
        if self._revocation is not None:
            self._revocation.take(entries)
        return [entry for entry in entries if self._pools.evolve(entry)]

    async def _declare_pools(self) -> None:
        """Make the queues of pools that have none, and let workers know of them. Raises `Unavailable`."""
        self._start = (await self._log.checkpoint("executor")).position + 1
        await self._log.keep(self._pools.queues(self._start))
        await self._log.put_status(KEY, self._pools.published())

    async def _keep(self) -> None:
        """Keep the queues. A deleted one delivers again all that it ever held, or all that is not over."""
        while True:
            await asyncio.sleep(EVERY)
            with suppress(Unavailable):
                self._start = (await self._log.checkpoint("executor")).position + 1
                for news in await self._log.keep(self.queues()):
                    log.warning("%s", news, extra={"action": "queue_restored", "part": self.name})

    async def _retire(self) -> None:
        """Let go of the queues of pools of which nothing was requested for long, and nothing waits."""
        while True:
            with suppress(Unavailable):
                await self._retire_idle()
            await asyncio.sleep(RETIRE_EVERY)

    async def _retire_idle(self) -> None:
        for id_, pool in self._pools.idle(await self._log.time()).items():
            queue = queue_of(id_)
            if (await self._log.queue(queue)).acknowledged >= pool.last and self._pools.forget(id_, pool):
                log.info("the queue %r is not used any more", queue.name, extra={"action": "queue_retired"})
        await self._log.put_status(KEY, self._pools.published())
        for name in await self._log.queue_names(POOL_QUEUE):
            # one of which nothing is known has nothing left to deliver: all its requests are over
            if name.removeprefix(POOL_QUEUE) not in self._pools.known:
                await self._log.retire(name)
