"""What the engine writes is its user's alone: the mode of new files, and of those that older versions have left.

`FLOWS_GROUP_READABLE=1` lets the group of the user read too, all but passwords and tokens.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bus import process

PRIVATE = 0o077
GROUP_READABLE = 0o027
# what the engine makes in its data folder
OWN = ("lock", "admin-token", "api-url", "flows.db*", "logs", "jetstream", "nats-*", "nats.pid", ".nats-*", "demo")


def keep_private() -> None:
    """Take from all others, for this process and those that it starts, what it and they will write."""
    os.umask(GROUP_READABLE if os.environ.get("FLOWS_GROUP_READABLE") == "1" else PRIVATE)


def tighten(folder: Path) -> None:
    """Take from others what is the engine's own in a data folder, and the folder when nothing else is in it.

    What belongs to another user is left as it is, and no symlink is followed.
    """
    mask = process.umask()
    own = {path for pattern in OWN for path in folder.glob(pattern)}
    for path in own:
        for found in (path, *_beneath(path)):
            _tighten(found, mask)
    if own.issuperset(folder.iterdir()):
        _tighten(folder, mask)


def _beneath(folder: Path) -> Iterator[Path]:
    """Yield what is in a folder and those in it, without following symlinks."""
    if folder.is_symlink():
        return
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in (*folders, *files))


def _tighten(path: Path, mask: int) -> None:
    with suppress(FileNotFoundError):
        status = path.lstat()
        mode = stat.S_IMODE(status.st_mode)
        if not stat.S_ISLNK(status.st_mode) and status.st_uid == os.geteuid() and mode & mask:
            path.chmod(mode & ~mask)
