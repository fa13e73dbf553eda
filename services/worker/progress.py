"""Progress of a backup, from its engine to the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from bus.errors import Conflict, Unavailable, Unknown
from bus.tasks import cancel_and_wait
from schemas.events import BackupProgressed
from services.worker.engines.engine import Progress
from services.worker.history import History
from services.worker.reports import Reports
from services.worker.run import Run

EVERY = 1.0  # seconds between two reports at least


@asynccontextmanager
async def reported(run: Run, reports: Reports, history: History) -> AsyncIterator[asyncio.Queue[Progress]]:
    """Report what is put into the queue: at most once a second, and only when the per cent has moved."""
    queue: asyncio.Queue[Progress] = asyncio.Queue()
    task = asyncio.create_task(_report(run, reports, history, queue))
    try:
        yield queue
    finally:
        await cancel_and_wait(task)


async def _report(run: Run, reports: Reports, history: History, queue: asyncio.Queue[Progress]) -> None:
    percent = 0
    while True:
        latest = await queue.get()
        while not queue.empty():
            latest = queue.get_nowait()
        if latest.percent <= percent or run.lost:
            continue
        percent = latest.percent
        progressed = BackupProgressed.of(
            run.request,
            attempt=run.record.attempt,
            percent=percent,
            bytes_read=latest.bytes_read,
            bytes_transferred=latest.bytes_transferred,
        )
        with suppress(Unavailable, Unknown):  # the next one says more
            try:
                await reports.report(run.record, progressed)
            except Conflict:
                await history.look(run.record)
                if run.record.lost:
                    run.lose()
        await asyncio.sleep(EVERY)
