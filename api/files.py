"""What this machine sees of the files and folders that definitions name. Nobody waits long for a file system."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from schemas.base import Value

PATIENCE = 2.0  # seconds
THREADS = 4  # that a file system which does not respond can hold; then nothing is seen until it does
FRESH = timedelta(minutes=1)  # so long what was seen of a folder's space is good
REMEMBERED = 10_000  # folders
GIGABYTE = 1 << 30

T = TypeVar("T")


class Space(Value, frozen=True, kw_only=True):
    """What was seen of a folder's space, in bytes, and when. None: nothing could be seen."""

    at: datetime
    total: int | None = None
    available: int | None = None


class Found(Value, frozen=True, kw_only=True):
    """A folder: its space in bytes, and whether this process may write there."""

    total: int
    available: int
    writable: bool


class Files:
    """Looks at files in threads of its own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="files")
        self._seen: OrderedDict[str, Space] = OrderedDict()

    async def space(self, folder: str, now: datetime, *, fresh: timedelta = FRESH) -> Space:
        """Return a folder's space as it is now, or was at most `fresh` ago."""
        seen = self._seen.get(folder)
        if seen is not None and now - seen.at < fresh:
            return seen
        seen = Space(at=now)
        try:
            usage = await self._in_time(partial(shutil.disk_usage, folder))
            seen = Space(at=now, total=usage.total, available=usage.free)
        except (OSError, ValueError):
            pass  # of which a time-out is one
        self._seen[folder] = seen
        self._seen.move_to_end(folder)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return seen

    async def sizes(self, paths: Sequence[str]) -> dict[str, int]:
        """Return the sizes of files in bytes: of those that are regular, and can be seen in time."""
        try:
            return await self._in_time(partial(_sizes, paths)) if paths else {}
        except TimeoutError:
            return {}

    async def folder(self, path: str) -> Found:
        """Look at a folder. Raises `OSError`: when it is not there, is no folder, or cannot be seen in time."""
        return await self._in_time(partial(_folder, path))

    async def _in_time(self, work: Callable[[], T]) -> T:
        async with asyncio.timeout(PATIENCE):
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _sizes(paths: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for path in paths:
        try:
            status = Path(path).stat()
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(status.st_mode):
            found[path] = status.st_size
    return found


def _folder(path: str) -> Found:
    usage = shutil.disk_usage(path)
    with os.scandir(path):  # raises where there is no folder, or it may not be read
        writable = os.access(path, os.W_OK | os.X_OK)
    return Found(total=usage.total, available=usage.free, writable=writable)
