"""Cancelling tasks for certain.

Before Python 3.12 `asyncio.wait_for` swallows a cancellation that comes at the moment its own work is done, and nats-py
waits with it: a task that is cancelled once may go on for ever. So it is cancelled until it has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

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


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Run coroutines until one of them ends, and cancel the others. Raises what the one raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await cancel_and_wait(*tasks)


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Return what `work` returns; None when `stop` is set before, and then it is cancelled. Raises what it raises."""
    task, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        await cancel_and_wait(task, stopping)


async def uninterrupted(work: Coroutine[Any, Any, None]) -> None:
    """Do something to its end, however often whoever waits is cancelled, and then raise that.

    A time-out and a stop may both come while something is tidied up. Raises what the work raises.
    """
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled
