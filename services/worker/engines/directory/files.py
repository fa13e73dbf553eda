"""Files and folders, opened so that it is certain what was opened: no symlink is followed, and no pipe waited for."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from schemas.events import BackupRequested
from services.worker.engines.engine import BackupError

FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ON_THE_WAY = FOLDER | getattr(os, "O_PATH", 0)  # where it is known: folders that may be entered and not listed, too

# never for others; for the group by the umask
FILE_MODE = 0o640
FOLDER_MODE = 0o750

_KINDS = {
    stat.S_IFLNK: "a symlink",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFREG: "a file",
}


class Refused(BackupError):
    """Nothing is read or written there, by the settings of the engine or ever."""


def open_real(real: str, flags: int) -> int:
    """Open an absolute path, part by part. Raises `OSError` with ELOOP or ENOTDIR when a part is a symlink by now."""
    *folders, name = [part for part in real.split("/") if part] or ["."]
    place = os.open("/", _ON_THE_WAY)
    try:
        for folder in folders:
            below = os.open(folder, _ON_THE_WAY, dir_fd=place)
            os.close(place)
            place = below
        return os.open(name, flags, dir_fd=place)
    except OSError as error:
        error.filename = real
        raise
    finally:
        os.close(place)


def open_folder(name: str, *, dir_fd: int, path: Path) -> int:
    """Open a folder in another one. `path`: what people call it. Raises `BackupError` when it is anything else."""
    try:
        return os.open(name, FOLDER, dir_fd=dir_fd)
    except OSError as error:
        if error.errno not in {errno.ELOOP, errno.ENOTDIR}:
            raise
        there = kind(os.lstat(name, dir_fd=dir_fd).st_mode)
        raise BackupError(f"{path} is not a folder but {there}: a backup follows nothing in a repository") from error


def kind(mode: int) -> str:
    """Return what something is, for people."""
    return _KINDS.get(stat.S_IFMT(mode), "something else")


def explain(error: OSError, request: BackupRequested) -> str:
    """Return what an operator can act on."""
    # what is in a repository is opened by its name in the VM's folder
    place = Path(request.location, request.context_id, error.filename or "")
    match error.errno:
        case errno.EACCES | errno.EPERM | errno.EROFS:
            inside = place.is_relative_to(request.location)
            what = "the worker may not write there" if inside else "the worker may not read it"
            return f"{place}: {what} ({os.strerror(error.errno)})"
        case errno.ENOSPC | errno.EDQUOT:
            return f"the repository folder {request.location} is full: free space, or choose another repository"
        case _:
            return f"{place}: {error.strerror or error}"
