"""Ending tasks for certain.

Before Python 3.12 `asyncio.wait_for` swallows a cancellation that comes in the moment in which its own work is done,
and nats-py waits with it: a task that is cancelled once may go on for ever. So it is cancelled until it has ended.
"""

from __future__ import annotations

import asyncio
from typing import Any

AGAIN = 0.5  # seconds between cancellations


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks until they have ended. What they raised is theirs: ask them."""
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN)
