"""What a backup's folder holds, and whether it is all there."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from datetime import datetime

import msgspec
import zstandard

from schemas.base import Value
from schemas.events import BackupRequested
from services.worker.engines.directory import files

NAME = "manifest.json"
LARGEST = 16 << 20  # bytes of a manifest
CHUNK = 1 << 20


class DiskManifest(Value, frozen=True, kw_only=True):
    """One disk image: `sha256` is of the source's bytes, holes included; sizes are bytes."""

    disk_id: str
    source: str
    file: str
    size_bytes: int
    compressed_bytes: int
    sha256: str
    changed_while_read: bool


class Manifest(Value, frozen=True, kw_only=True):
    """What a backup folder holds; `manifest.json`."""

    format: int = 1
    engine: str = "directory"
    compression: str = "zstd"
    backup_id: str
    execution_id: str
    flow_id: str
    context_id: str
    vm_name: str
    attempt: int
    requested_at: datetime
    started_at: datetime
    completed_at: datetime
    disks: list[DiskManifest]


class Unfinished(Exception):
    """A folder does not hold the whole of a backup; the message says what is wrong with it."""


def verified(request: BackupRequested, folder: int, check_cancelled: Callable[[], None]) -> Manifest:
    """Return the manifest of a backup in an open folder, after a look at every byte that it lists.

    A name proves nothing: whoever may write to the repository can make a folder. Raises `Unfinished`.
    """
    manifest = _read(folder)
    for name in ("backup_id", "execution_id", "context_id"):
        if (there := getattr(manifest, name)) != getattr(request, name):
            raise Unfinished(f"its manifest is of {name} {there!r}")
    listed = [(disk.disk_id, disk.source, disk.file) for disk in manifest.disks]
    if listed != [(disk.disk_id, disk.path, f"{disk.disk_id}.zst") for disk in request.disks]:
        raise Unfinished("its manifest lists other disks")
    for disk in manifest.disks:
        _verify(disk, folder, check_cancelled)
    return manifest


def _read(folder: int) -> Manifest:
    descriptor = _open(NAME, folder)
    with os.fdopen(descriptor, "rb") as file:
        text = file.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise Unfinished(f"{NAME} has more than {LARGEST:,} bytes")
    try:
        return msgspec.json.decode(text, type=Manifest)
    except msgspec.MsgspecError as error:
        raise Unfinished(f"{NAME} cannot be read: {error}") from error


def _open(name: str, folder: int) -> int:
    try:
        descriptor = os.open(name, files.FILE, dir_fd=folder)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ELOOP, errno.ENXIO}:
            raise Unfinished(f"it has no file {name}") from error
        raise
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise Unfinished(f"{name} is not a file but {files.kind(mode)}")
    return descriptor


def _verify(disk: DiskManifest, folder: int, check_cancelled: Callable[[], None]) -> None:
    """Raise unless a disk's file has its size, and what is in it the size and SHA-256 of the disk."""
    digest = hashlib.sha256()
    size = 0
    with os.fdopen(_open(disk.file, folder), "rb") as file:
        if (there := os.fstat(file.fileno()).st_size) != disk.compressed_bytes:
            raise Unfinished(f"{disk.file} has {there:,} bytes, not {disk.compressed_bytes:,}")
        try:
            reader = zstandard.ZstdDecompressor().stream_reader(file)
            while size <= disk.size_bytes and (chunk := reader.read(CHUNK)):
                check_cancelled()
                digest.update(chunk)
                size += len(chunk)
        except zstandard.ZstdError as error:
            raise Unfinished(f"{disk.file} is damaged: {error}") from error
    if size != disk.size_bytes or digest.hexdigest() != disk.sha256:
        raise Unfinished(f"what is in {disk.file} is not what its manifest says")
