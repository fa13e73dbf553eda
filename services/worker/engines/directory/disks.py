"""A VM's disks: what is opened is checked, and what was checked is read, whatever becomes of its path meanwhile."""

from __future__ import annotations

import errno
import io
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from schemas.base import Value
from schemas.definitions import Disk
from schemas.events import BackupRequested
from services import roots
from services.worker.engines.directory import files
from services.worker.engines.engine import BackupError

log = logging.getLogger(__name__)

CHUNK = 1 << 20  # bytes read, hashed and compressed at once
_ZEROS = bytes(CHUNK)


class Version(Value, frozen=True, kw_only=True):
    """How a disk is at a time; `size` in bytes, `changed_at` in nanoseconds since 1970."""

    size: int
    changed_at: int


class Source:
    """A disk that is held open, and how it was when it was opened."""

    def __init__(self, disk: Disk, file: io.FileIO) -> None:
        self.disk = disk
        self.file = file
        self.opened = self._version()

    def changed(self) -> bool:
        """Tell whether it was written to since it was opened. Raises `BackupError` when it became shorter."""
        now, before = self._version(), self.opened
        if now.size < before.size:
            raise shorter(self.disk.path, now.size, before.size)
        if now.size > before.size:
            log.warning(
                "%s grew while it was read, from %s to %s bytes: its backup holds the first %s",
                *(self.disk.path, f"{before.size:,}", f"{now.size:,}", f"{before.size:,}"),
                extra={"action": "disk_grew", "disk_id": self.disk.disk_id},
            )
        return now != before

    def _version(self) -> Version:
        status = os.fstat(self.file.fileno())
        size = status.st_size
        if stat.S_ISBLK(status.st_mode):
            size = os.lseek(self.file.fileno(), 0, os.SEEK_END)
        return Version(size=size, changed_at=status.st_mtime_ns)


@contextmanager
def opened(request: BackupRequested, own: Sequence[str]) -> Iterator[list[Source]]:
    """Hold all disks of a request open. Raises `BackupError` for the first that is none, or is where none may be."""
    if not request.disks:
        raise BackupError(f"VM {request.vm_name!r} has no disks: add them to its definition")
    with ExitStack() as stack:
        yield [Source(disk, stack.enter_context(_open(disk, request, own))) for disk in request.disks]


def problems(request: BackupRequested, own: Sequence[str]) -> Iterator[str]:
    """Yield a line for each disk of a request that could not be read now."""
    for disk in request.disks:
        try:
            _open(disk, request, own).close()
        except BackupError as error:
            yield str(error)
        except OSError as error:
            yield files.explain(error, request)


def _open(disk: Disk, request: BackupRequested, own: Sequence[str]) -> io.FileIO:
    about = f"disk {disk.disk_id!r} of VM {request.vm_name!r}: {disk.path}"
    real = _real(disk.path, request)
    allowed = None if request.disk_roots is None else [os.path.realpath(root) for root in request.disk_roots]
    if reason := roots.refusal(real, "disk_roots", allowed, own, block_devices=request.block_devices):
        raise files.Refused(f"{about} is refused: {reason}")
    try:
        descriptor = files.open_real(real, files.FILE)
    except FileNotFoundError as error:
        raise BackupError(f"{about} does not exist") from error
    except OSError as error:
        match error.errno:
            case errno.ELOOP:
                raise BackupError(f"{about} is not a file but a symlink: name the file that it leads to") from error
            case errno.ENXIO:
                raise BackupError(f"{about} is not a file but a socket, or a device that is not there") from error
            case _:
                error.filename = disk.path
                raise
    try:
        _check(os.fstat(descriptor).st_mode, real, request, about)
        return io.FileIO(disk.path, opener=lambda _path, _flags: descriptor)
    except BaseException:
        os.close(descriptor)
        raise


def _real(path: str, request: BackupRequested) -> str:
    """Return a disk's path without symlinks. Only the name of a block device may be one itself: most of them are."""
    folder, name = os.path.split(path)
    if name in {"", ".", ".."} or (request.block_devices and roots.is_device(path)):
        return os.path.realpath(path)
    return str(Path(os.path.realpath(folder), name))


def _check(mode: int, real: str, request: BackupRequested, about: str) -> None:
    """Raise when what was opened is no disk."""
    if stat.S_ISBLK(mode):
        if not request.block_devices:
            raise files.Refused(f"{about} is a block device, which the setting block_devices does not allow")
    elif not stat.S_ISREG(mode):
        raise BackupError(f"{about} is not a file but {files.kind(mode)}")
    elif roots.is_device(real):
        raise files.Refused(f"{about} is a file among devices, and no block device")


def shorter(path: object, there: int, size: int) -> BackupError:
    """Return the error about a disk that has lost bytes while it was read."""
    return BackupError(f"{path} became shorter while it was read: {there:,} of {size:,} bytes")


def chunks(source: io.FileIO, size: int) -> Iterator[bytes | memoryview]:
    """Yield the first `size` bytes of a file in chunks. Holes of a sparse file come as zeros, without being read."""
    buffer = bytearray(CHUNK)
    descriptor = source.fileno()
    position = 0
    while position < size:
        data_from, data_to = _next_data(descriptor, position, size)
        while position < data_from:
            length = min(CHUNK, data_from - position)
            yield _ZEROS[:length] if length < CHUNK else _ZEROS
            position += length
        source.seek(position)
        while position < data_to:
            length = source.readinto(memoryview(buffer)[: min(CHUNK, data_to - position)])
            if not length:
                raise shorter(source.name, position, size)
            yield memoryview(buffer)[:length]
            position += length


def _next_data(descriptor: int, position: int, size: int) -> tuple[int, int]:
    """Return where the next data begins and ends; both are `size` when only a hole is left."""
    try:
        start = os.lseek(descriptor, position, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return size, size
        if error.errno == errno.EINVAL:  # a file system that does not know of holes
            return position, size
        raise
    return min(start, size), min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
