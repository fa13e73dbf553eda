"""The directory engine among files that somebody else has put there: none holds it up, leads it astray or fools it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from msgspec import structs

from schemas.definitions import Disk
from schemas.events import BackupRequested
from services.worker.engines.directory import engine as directory
from services.worker.engines.directory import files
from services.worker.engines.directory.engine import DirectoryEngine
from services.worker.engines.engine import BackupError, Result
from tests.services.worker.engines.support import MIB, everything, request

FAST = 20  # seconds: a pipe that is waited for takes for ever
FINAL = "20261101T120000Z-backup-1"


async def run(asked: BackupRequested, attempt: int = 1, own: tuple[str, ...] = ()) -> Result:
    async with asyncio.timeout(FAST):
        return await DirectoryEngine(own).backup(asked, attempt, lambda _: None)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    folder = tmp_path / "disks"
    folder.mkdir()
    (folder / "d.raw").write_bytes(os.urandom(2 * MIB + 5))
    (folder / "d.raw").chmod(0o644)
    return folder / "d.raw"


def pipe(path: Path) -> None:
    os.mkfifo(path)


def link(path: Path) -> None:
    path.symlink_to("/etc/shadow")


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def restored(result: Result, disk_id: str = "d") -> bytes:
    return (
        zstandard.ZstdDecompressor()
        .decompressobj()
        .decompress((Path(result.snapshot_ref) / f"{disk_id}.zst").read_bytes())
    )


# --- disks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("put", "what"), [(pipe, "a pipe"), (link, "a symlink"), (listening, "a socket"), (Path.mkdir, "a folder")]
)
async def test_what_is_no_disk_is_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put: Callable[[Path], None], what: str
) -> None:
    (tmp_path / "x").mkdir()
    monkeypatch.chdir(tmp_path / "x")
    put(Path("d.raw"))  # by a short name: a socket's may have 107 bytes
    with pytest.raises(BackupError, match=rf"d\.raw is not a file but {what}"):
        await run(request(tmp_path, tmp_path / "x" / "d.raw"))
    assert everything(tmp_path / "repository") == []


@pytest.mark.parametrize("put", [pipe, link])
async def test_a_disk_that_is_swapped_before_it_is_opened_fails_at_once(
    tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch, put: Callable[[Path], None]
) -> None:
    original = files.open_real

    def swapped(real: str, flags: int) -> int:
        if real == str(disk):
            disk.unlink()
            put(disk)
        return original(real, flags)

    monkeypatch.setattr(files, "open_real", swapped)
    with pytest.raises(BackupError, match=r"d\.raw is not a file but a"):
        await run(request(tmp_path, disk))
    assert everything(tmp_path / "repository") == []


@pytest.mark.parametrize("put", [pipe, link])
async def test_what_was_checked_is_read_whatever_becomes_of_its_path(
    tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch, put: Callable[[Path], None]
) -> None:
    """All disks have been looked at when the attempt makes its folder."""
    content, original = content_of(disk), os.mkdir

    def swapping(path: Any, *arguments: Any, **options: Any) -> None:
        if ".partial" in str(path):
            disk.unlink()
            put(disk)
        original(path, *arguments, **options)

    asked = request(tmp_path, disk)
    monkeypatch.setattr(os, "mkdir", swapping)
    assert restored(await run(asked)) == content


async def test_a_folder_that_turns_into_a_symlink_leads_nowhere(
    tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "secrets"
    elsewhere.mkdir()
    (elsewhere / "d.raw").write_bytes(b"secret")
    original = files.open_real

    def swapped(real: str, flags: int) -> int:
        if real == str(disk):
            shutil.move(disk.parent, tmp_path / "away")
            disk.parent.symlink_to(elsewhere)
        return original(real, flags)

    monkeypatch.setattr(files, "open_real", swapped)
    asked = request(tmp_path, disk, disk_roots=[str(disk.parent)])
    with pytest.raises(BackupError, match=r"d\.raw: Not a directory"):
        await run(asked)
    assert everything(tmp_path / "repository") == []


async def test_a_disk_is_read_under_its_roots_alone_symlinks_included(tmp_path: Path, disk: Path) -> None:
    inside, elsewhere = tmp_path / "inside", tmp_path / "elsewhere"
    inside.mkdir()
    (inside / "way-out").symlink_to(disk.parent)
    elsewhere.symlink_to(disk.parent)
    out = request(tmp_path, inside / "way-out" / "d.raw", disk_roots=[str(inside)])
    with pytest.raises(BackupError, match=r"disks/d\.raw lies in none of the disk_roots \(.*inside\)"):
        await run(out)
    with pytest.raises(BackupError, match="lies in none of the disk_roots"):
        await run(request(tmp_path, inside / ".." / "disks" / "d.raw", disk_roots=[str(inside)]))
    assert everything(tmp_path / "repository") == []
    # a root may be a symlink, and what lies under it be named by either name
    assert await run(request(tmp_path, elsewhere / "d.raw", disk_roots=[str(elsewhere)]))


@pytest.mark.parametrize(
    "path", ["/etc/shadow", "/proc/self/mem", "/dev/zero", "/dev/shm/x", "/srv/people/.ssh/id_rsa"]
)
async def test_some_places_hold_no_disks(tmp_path: Path, path: str) -> None:
    with pytest.raises(BackupError, match=f"disk 'd' of VM 'web': {path} is refused"):
        await run(request(tmp_path, disks=[Disk(disk_id="d", path=path)]))
    with pytest.raises(BackupError, match=f"{path} is refused|not a file but"):
        await run(request(tmp_path, disks=[Disk(disk_id="d", path=path)], block_devices=path == "/dev/zero"))


async def test_the_engines_own_files_are_nobodys_disk_nor_repository(tmp_path: Path, disk: Path) -> None:
    data = tmp_path / "data"
    (data / "jetstream").mkdir(parents=True)
    (data / "admin-token").write_text("token")
    (data / "demo").mkdir()
    own = (str(data),)
    (tmp_path / "alias").symlink_to(data)
    for path in (data / "admin-token", tmp_path / "alias" / "admin-token"):
        with pytest.raises(BackupError, match=r"is refused: .*data"):
            await run(request(tmp_path, path), own=own)
    for location in (data / "jetstream", tmp_path / "alias" / "jetstream"):
        with pytest.raises(BackupError, match="jetstream is refused"):
            await run(request(tmp_path, disk, location=str(location)), own=own)
    with pytest.raises(BackupError, match="is refused"):  # a repository above it, and a VM of its name
        await run(request(tmp_path, disk, location=str(tmp_path), context_id="data"), own=own)
    assert everything(data / "jetstream") == []
    assert await run(request(tmp_path, disk, location=str(data / "demo")), own=own)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder.parent, folder, *folder.iterdir())}


def content_of(disk: Path) -> bytes:
    return disk.read_bytes()


def blocks(descriptor: int, status: Callable[[int], os.stat_result] = os.fstat) -> os.stat_result:
    """The status of a block device: nobody may make one in a test."""
    found = status(descriptor)
    if not stat.S_ISREG(found.st_mode):
        return found
    return os.stat_result((stat.S_IFBLK | 0o600, *found[1:6], 0, *found[7:10]))


async def test_a_block_device_is_read_by_choice_with_the_size_that_it_has(
    tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fstat", blocks)
    with pytest.raises(BackupError, match="a block device, which the setting block_devices does not allow"):
        await run(request(tmp_path, disk))
    result = await run(request(tmp_path, disk, block_devices=True))
    assert result.bytes_read == 2 * MIB + 5
    assert restored(result) == content_of(disk)


async def test_a_disk_that_shrinks_fails_and_one_that_grows_is_told(
    tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also when what is cut off is a hole, which is never read."""
    size, original = 0, directory.chunks

    def resizing(source: Any, length: int) -> Any:
        yield from original(source, length)
        os.truncate(disk, size)

    monkeypatch.setattr(directory, "chunks", resizing)
    os.truncate(disk, 8 * MIB)
    size = 4 * MIB
    with pytest.raises(BackupError, match=r"d\.raw became shorter while it was read: 4,194,304 of 8,388,608 bytes"):
        await run(request(tmp_path, disk))
    assert everything(tmp_path / "repository") == []
    size = 5 * MIB
    with caplog.at_level(logging.WARNING):
        result = await run(request(tmp_path, disk))
    assert "grew while it was read, from 4,194,304 to 5,242,880 bytes" in caplog.text
    (told,) = json.loads((Path(result.snapshot_ref) / "manifest.json").read_text())["disks"]
    assert (told["changed_while_read"], told["size_bytes"]) == (True, 4 * MIB)


# --- the repository --------------------------------------------------------------------------------------------------


def outside(tmp_path: Path) -> Path:
    """A folder of somebody else, named as what an attempt leaves."""
    folder = tmp_path / "outside"
    for name in (FINAL, ".partial-backup-1-1"):
        (folder / name).mkdir(parents=True)
        (folder / name / "precious").write_text("x")
    return folder


async def test_a_vms_folder_that_is_a_symlink_is_not_followed(tmp_path: Path, disk: Path) -> None:
    asked, other = request(tmp_path, disk), outside(tmp_path)
    before = everything(other)
    (tmp_path / "repository" / "vm-1").symlink_to(other)
    with pytest.raises(BackupError, match="repository/vm-1 is not a folder but a symlink"):
        await run(asked)
    with pytest.raises(BackupError, match="repository/vm-1 is not a folder but a symlink"):
        await DirectoryEngine().discard(asked, keep=None)
    assert everything(other) == before


async def test_what_is_planted_in_the_place_of_a_backup_is_not_followed(tmp_path: Path, disk: Path) -> None:
    asked, other = request(tmp_path, disk), outside(tmp_path)
    before = everything(other)
    folder = tmp_path / "repository" / "vm-1"
    folder.mkdir()
    (folder / ".partial-backup-1-1").symlink_to(other / ".partial-backup-1-1")
    (folder / FINAL).symlink_to(other / FINAL)
    with pytest.raises(BackupError, match=f"{FINAL} is not a folder but a symlink"):
        await run(asked)
    await DirectoryEngine().discard(asked, keep=None)
    assert everything(folder.parent) == []
    assert everything(other) == before
    assert await run(asked)


@pytest.mark.parametrize(
    "name", [".partial-backup-1-1", ".partial-backup-1-1/d.zst", ".partial-backup-1-1/manifest.json"]
)
@pytest.mark.parametrize("put", [pipe, link])
async def test_nothing_is_written_through_what_is_planted_while_it_works(
    tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch, name: str, put: Callable[[Path], None]
) -> None:
    folder, original = tmp_path / "repository" / "vm-1", os.mkdir

    def planting(path: Any, *arguments: Any, **options: Any) -> None:
        mine = ".partial" in str(path)
        if mine and "/" not in name:
            put(folder / name)
        original(path, *arguments, **options)
        if mine and "/" in name:
            put(folder / name)

    asked = request(tmp_path, disk)
    monkeypatch.setattr(os, "mkdir", planting)
    with pytest.raises(BackupError, match="File exists"):
        await run(asked)


def plant(folder: Path, asked: BackupRequested, **given: Any) -> dict[str, Any]:
    """Put a manifest in the place of a finished backup."""
    told = {
        **{name: getattr(asked, name) for name in ("backup_id", "execution_id", "flow_id", "context_id", "vm_name")},
        **dict.fromkeys(("requested_at", "started_at", "completed_at"), "2026-11-01T12:00:00Z"),
        "attempt": 1,
        "disks": [],
        **given,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(told))
    return told


async def test_a_planted_manifest_is_no_backup(tmp_path: Path, disk: Path) -> None:
    asked = request(tmp_path, disk)
    folder = tmp_path / "repository" / "vm-1" / FINAL
    listed = {"disk_id": "d", "source": str(disk), "file": "d.zst", "size_bytes": 0, "compressed_bytes": 0}
    listed |= {"sha256": "0" * 64, "changed_while_read": False}
    for given, why in (
        ({}, "lists other disks"),
        ({"backup_id": "other"}, "its manifest is of backup_id 'other'"),
        ({"context_id": "other"}, "its manifest is of context_id 'other'"),
        ({"disks": [{**listed, "file": "../../d.zst"}]}, "lists other disks"),
        ({"disks": [listed]}, r"it has no file d\.zst"),
        ({"disks": "none"}, "manifest.json cannot be read"),
    ):
        plant(folder, asked, **given)
        with pytest.raises(BackupError, match=f"in the place of this backup, and is not it: .*{why}"):
            await run(asked)
    for put, what in ((pipe, "not a file but a pipe"), (link, r"no file")):
        (folder / "manifest.json").unlink()
        put(folder / "manifest.json")
        with pytest.raises(BackupError, match=what):
            await run(asked)
    await DirectoryEngine().discard(asked, keep=None)
    assert everything(tmp_path / "repository") == []


async def test_a_finished_backup_is_taken_over_only_when_every_byte_is_there(tmp_path: Path, disk: Path) -> None:
    asked = request(tmp_path, disk)
    done = await run(asked)
    image = Path(done.snapshot_ref) / "d.zst"
    good = image.read_bytes()
    assert await run(asked, attempt=2) == done
    other = zstandard.ZstdCompressor().compress(b"x" * (2 * MIB + 5))
    for bad, why in (
        (good[:-1], r"d\.zst has .* bytes, not"),
        (good[: MIB // 2] + b"\0\1\2\3" + good[MIB // 2 + 4 :], r"d\.zst is damaged|is not what its manifest says"),
        (other + bytes(len(good) - len(other)), r"d\.zst is damaged|is not what its manifest says"),
    ):
        image.write_bytes(bad)
        with pytest.raises(BackupError, match=why):
            await run(asked, attempt=2)
    image.unlink()
    (tmp_path / "copy").write_bytes(good)
    image.symlink_to(tmp_path / "copy")
    with pytest.raises(BackupError, match=r"it has no file d\.zst"):
        await run(asked, attempt=2)


async def test_a_repository_is_written_under_its_roots_alone(tmp_path: Path, disk: Path) -> None:
    asked = request(tmp_path, disk, repository_roots=[str(tmp_path / "elsewhere")])
    with pytest.raises(BackupError, match=r"repository is refused: .* lies in none of the repository_roots"):
        await run(asked)
    await DirectoryEngine().discard(asked, keep=None)  # nothing was written, so nothing is to be told
    (tmp_path / "alias").symlink_to(tmp_path / "repository")
    given = {"location": str(tmp_path / "alias"), "repository_roots": [str(tmp_path / "repository")]}
    assert await run(structs.replace(asked, **given))


async def test_a_backup_is_its_owners_whatever_the_disk_was(tmp_path: Path, disk: Path) -> None:
    asked = request(tmp_path, disk)
    (tmp_path / "repository" / "vm-1").mkdir()
    (tmp_path / "repository" / "vm-1").chmod(0o755)  # of an older version
    before = os.umask(0o077)
    try:
        made = modes(Path((await run(asked)).snapshot_ref))
    finally:
        os.umask(before)
    assert made == {"vm-1": 0o700, FINAL: 0o700, "d.zst": 0o600, "manifest.json": 0o600}
    before = os.umask(0)
    try:
        made = modes(Path((await run(structs.replace(asked, context_id="vm-2"))).snapshot_ref))
    finally:
        os.umask(before)
    assert not any(mode & 0o007 for mode in made.values())


async def test_a_backup_that_is_cancelled_twice_leaves_nothing(
    tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a time-out and a stop."""
    paused, go_on, original = threading.Event(), threading.Event(), directory.chunks

    def slow(source: Any, size: int) -> Any:
        for chunk in original(source, size):
            paused.set()
            assert go_on.wait(FAST)
            yield chunk

    monkeypatch.setattr(directory, "chunks", slow)
    task = asyncio.create_task(run(request(tmp_path, disk)))
    await asyncio.to_thread(paused.wait, FAST)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert everything(tmp_path / "repository") == []
