"""Cancelling tasks for certain.

Before Python 3.12 `asyncio.wait_for` swallows a cancellation that comes at the moment its own work is done, and nats-py
waits with it: a task that is cancelled once may go on for ever. So it is cancelled until it has ended.
"""

from __future__ import annotations

import asyncio
from typing import Any

AGAIN = 0.5  # seconds between cancellations
PATIENCE = 20  # cancellations of whoever waits


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks, and wait until all have ended. What they raised stays in them.

    Whoever is cancelled while waiting goes on waiting, and is cancelled afterwards: no task is left behind. Whoever is
    cancelled more than `PATIENCE` times gives up: what runs the loop is itself at an end.
    """
    cancelled: asyncio.CancelledError | None = None
    patience = PATIENCE
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        try:
            await asyncio.wait(pending, timeout=AGAIN)
        except asyncio.CancelledError as error:
            cancelled, patience = error, patience - 1
            if not patience:
                raise
    for task in tasks:
        if not task.cancelled():
            task.exception()  # asked for, or asyncio logs that nobody has, over the reason for which all ends
    if cancelled is not None:
        raise cancelled
