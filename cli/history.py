"""`flows rebuild`, `diff`, `restore-log`, `prune`: the log and its copies in databases."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bus.clock import now
from bus.envelope import envelope
from bus.server import Server
from bus.setup import declare_at
from cli.actor import actor
from cli.attach import attached
from cli.terminal import print_line
from schemas.commands import PruneHistory
from services.recorder import comparison, restoration
from services.recorder import rebuild as rebuilding


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


async def rebuild(nats_url: str, url: str, console: Console) -> None:
    """Fill a database from the log, and show the progress."""
    async with attached(nats_url, "flows-rebuild") as log:
        with _progress(console) as progress:
            task = progress.add_task("messages", total=None)
            async for position, last in rebuilding.rebuild(log, url):
                progress.update(task, completed=position, total=last)


async def diff(first: str, second: str, most: int, console: Console) -> int:
    """Print the first differences and return how many there are."""
    count = 0
    async for difference in comparison.differences(first, second):
        count += 1
        if count <= most:
            print_line(console, str(difference))
    print_line(console, f"{count:,} differences" if count != 1 else "1 difference")
    return count


async def restore(nats_url: str, url: str, console: Console) -> None:
    """Fill an empty log from a database. Raises `ValueError` when it is not empty, or services run."""
    await declare_at(nats_url)
    async with attached(nats_url, "flows-restore") as log:
        with _progress(console) as progress:
            task = progress.add_task("messages", total=None)
            async for position, last in restoration.restore(log, url):
                progress.update(task, completed=position, total=last)


def restore_folder(folder: Path, url: str, nats_server: str | None, console: Console) -> None:
    """Fill the log of a data folder. It is started for that alone: `flows up` must not run on it."""
    server = Server(folder.resolve(), program=nats_server, mode="restoring")
    server.start()
    try:
        asyncio.run(restore(server.url, url, console))
    finally:
        server.stop()


async def prune(nats_url: str, before: datetime) -> None:
    """Append the command that prunes old history."""
    async with attached(nats_url, "flows-prune") as log:
        command = PruneHistory(id="history", before=before)
        await log.publish_once(envelope(command, id=str(uuid4()), source="cli", time=now(), actor=actor()))
