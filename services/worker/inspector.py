"""The inspector: lets a worker's engines look at repositories and disks, when somebody asks.

A file system that hangs keeps a look from ending. So only a few are under way at once, and a request that comes while
all of them hang gets no reply: who asks has a deadline.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress

import msgspec
from msgspec import structs

from bus.errors import Unavailable
from bus.log import Log
from bus.replies import Reply
from bus.tasks import cancel_and_wait
from services.unusable import reason_of
from services.worker.engines.engine import Engine
from services.worker.inspection import SUBJECT, Inspection, RepositoryState, Seen, WorkerSeen

log = logging.getLogger(__name__)

AT_ONCE = 4


class Inspector:
    """Replies to inspections in the name of one worker."""

    def __init__(self, worker: str, engines: Mapping[str, Engine], labels: Mapping[str, str]) -> None:
        self._worker = worker
        self._labels = labels
        self._engines = engines
        self._looks: set[asyncio.Task[None]] = set()

    async def open(self, flows_log: Log) -> None:
        """Reply from now on. Raises `Unavailable`."""
        await flows_log.respond(SUBJECT, self._begin)

    async def close(self) -> None:
        """Let go of what is under way."""
        await cancel_and_wait(*self._looks)

    async def _begin(self, body: bytes, reply: Reply) -> None:
        """Begin a look, which others must not wait for."""
        if len(self._looks) < AT_ONCE:
            look = asyncio.create_task(self._look(body, reply))
            self._looks.add(look)
            look.add_done_callback(self._looks.discard)

    async def _look(self, body: bytes, reply: Reply) -> None:
        with suppress(msgspec.MsgspecError, Unavailable):  # of a version that asks otherwise; or nobody waits any more
            inspection = msgspec.json.decode(body, type=Inspection).seen_with(self._labels)
            if inspection is None:
                return
            seen = await self._seen(inspection)
            await reply(msgspec.json.encode(WorkerSeen(worker=self._worker, **structs.asdict(seen))))

    async def _seen(self, inspection: Inspection) -> Seen:
        engine = self._engines.get(inspection.engine)
        if engine is None:
            problem = f"it has no engine {inspection.engine!r}"
            return Seen(repository=RepositoryState(problem=problem))
        try:
            return await engine.inspect(inspection)
        except Exception as error:
            log.exception("an inspection failed", extra={"action": "inspection_failed", "part": "worker"})
            return Seen(repository=RepositoryState(problem=f"it could not look: {reason_of(error)}"))
