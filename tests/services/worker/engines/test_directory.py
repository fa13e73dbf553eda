"""The directory engine on real files: what comes back is what went in, and nothing half-written is ever seen."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
import zstandard

from schemas.definitions import Disk
from schemas.events import BackupRequested
from services.worker.engines.directory import engine as directory
from services.worker.engines.directory.engine import DirectoryEngine
from services.worker.engines.engine import BackupError, Progress, Result
from tests.services.worker.engines.support import MIB, everything, request


@pytest.fixture
def images(tmp_path: Path) -> dict[str, Path]:
    """A dense image, one with holes at its start, middle and end, an empty one, and one of nothing but a hole."""
    folder = tmp_path / "disks"
    folder.mkdir()
    dense, sparse, empty, hole = (folder / f"{name}.raw" for name in ("dense", "sparse", "empty", "hole"))
    dense.write_bytes(os.urandom(2 * MIB + 123))
    with sparse.open("wb") as file:
        file.seek(3 * MIB)
        file.write(os.urandom(MIB))
        file.seek(40 * MIB + 17)
        file.write(b"the end of the data")
        file.truncate(64 * MIB + 5)
    empty.touch()
    with hole.open("wb") as file:
        file.truncate(10 * MIB)
    return {"dense": dense, "sparse": sparse, "empty": empty, "hole": hole}


async def run(asked: BackupRequested, attempt: int = 1, reports: list[Progress] | None = None) -> Result:
    return await DirectoryEngine().backup(asked, attempt, (reports if reports is not None else []).append)


@pytest.mark.server
async def test_what_comes_back_is_what_went_in(tmp_path: Path, images: dict[str, Path]) -> None:
    result = await run(request(tmp_path, *images.values()))
    folder = Path(result.snapshot_ref)
    assert folder == tmp_path / "repository" / "vm-1" / "20261101T120000Z-backup-1"
    manifest = json.loads((folder / "manifest.json").read_text())
    for disk in manifest["disks"]:
        source = images[disk["disk_id"]].read_bytes()
        restored = subprocess.run(["zstd", "-dc", folder / disk["file"]], capture_output=True, check=True).stdout
        assert restored == source
        assert disk["sha256"] == hashlib.sha256(source).hexdigest()
        assert disk["size_bytes"] == len(source)
        assert disk["compressed_bytes"] == (folder / disk["file"]).stat().st_size
        assert disk["changed_while_read"] is False
    assert result.bytes_read == sum(image.stat().st_size for image in images.values())
    assert result.bytes_transferred == sum(disk["compressed_bytes"] for disk in manifest["disks"])
    assert not [name for name in everything(tmp_path / "repository") if "partial" in name]


async def test_holes_are_not_read(tmp_path: Path, images: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0
    original = directory.chunks

    def counted(source: Any, size: int) -> Any:
        nonlocal read
        for chunk in original(source, size):
            read += len(chunk) if isinstance(chunk, memoryview) else 0
            yield chunk

    monkeypatch.setattr(directory, "chunks", counted)
    result = await run(request(tmp_path, images["sparse"], images["hole"]))
    assert result.bytes_read == 74 * MIB + 5
    assert read < 2 * MIB


async def test_asking_again_finds_what_is_there(tmp_path: Path, images: dict[str, Path]) -> None:
    asked = request(tmp_path, images["dense"])
    first = await run(asked)
    before = everything(tmp_path / "repository")
    images["dense"].write_bytes(b"other")
    assert await run(asked, attempt=2) == first
    assert everything(tmp_path / "repository") == before


async def test_what_a_dead_worker_left_is_removed_by_the_next_attempt(tmp_path: Path, images: dict[str, Path]) -> None:
    left = tmp_path / "repository" / "vm-1" / ".partial-backup-1-1"
    left.mkdir(parents=True)
    (left / "dense.zst").write_bytes(b"half")
    await run(request(tmp_path, images["dense"]), attempt=2)
    assert not left.exists()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"disks": [Disk(disk_id="d", path="/nowhere/disk.raw")]}, "/nowhere/disk.raw does not exist"),
        ({"disks": [Disk(disk_id="d", path="/tmp")]}, "/tmp is not a file"),
        ({"disks": []}, "has no disks"),
        ({"location": "/nowhere/repository"}, "/nowhere/repository does not exist: create or mount it"),
        ({"location": "/proc/self"}, "/proc/self"),
    ],
)
async def test_failures_name_the_cause_and_leave_nothing(
    tmp_path: Path, images: dict[str, Path], given: dict[str, Any], reason: str
) -> None:
    with pytest.raises(BackupError, match=reason):
        await run(request(tmp_path, images["dense"], **given))
    assert everything(tmp_path / "repository") == []


async def test_a_repository_that_is_not_writable_is_named(tmp_path: Path, images: dict[str, Path]) -> None:
    asked = request(tmp_path, images["dense"])
    (tmp_path / "repository" / "vm-1").write_text("a file where the folder should be")
    with pytest.raises(BackupError, match="repository/vm-1"):
        await run(asked)


async def test_one_bad_disk_fails_the_backup_before_any_byte_is_written(
    tmp_path: Path, images: dict[str, Path]
) -> None:
    with pytest.raises(BackupError, match=r"gone\.raw"):
        await run(request(tmp_path, images["dense"], tmp_path / "gone.raw"))
    assert everything(tmp_path / "repository") == []


async def test_a_cancelled_backup_stops_and_leaves_no_file(
    tmp_path: Path, images: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    started = asyncio.Event()
    loop = asyncio.get_running_loop()
    go_on = threading.Event()
    original = directory.chunks

    def slow(source: Any, size: int) -> Any:
        for number, chunk in enumerate(original(source, size)):
            if number == 1:
                loop.call_soon_threadsafe(started.set)
                go_on.wait(10)
            yield chunk

    monkeypatch.setattr(directory, "chunks", slow)
    task = asyncio.create_task(run(request(tmp_path, images["dense"])))
    await started.wait()
    assert [name for name in everything(tmp_path / "repository") if "partial" in name]
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert everything(tmp_path / "repository") == []


class Slow:
    """An attempt that stops after its first chunk until it may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paused = threading.Event()
        self.go_on = threading.Event()
        original = directory.chunks

        def slow(source: Any, size: int) -> Any:
            for number, chunk in enumerate(original(source, size)):
                if number == 1 and not self.paused.is_set():
                    self.paused.set()
                    assert self.go_on.wait(20)
                yield chunk

        monkeypatch.setattr(directory, "chunks", slow)


async def test_a_lost_attempt_publishes_nothing_once_the_newer_one_has_begun(
    tmp_path: Path, images: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker was paused and thought dead: what it goes on with is no more where it was."""
    slow = Slow(monkeypatch)
    asked = request(tmp_path, images["dense"])
    first = asyncio.create_task(run(asked))
    await asyncio.to_thread(slow.paused.wait, 20)
    second = await run(asked, attempt=2)
    before = everything(tmp_path / "repository")
    slow.go_on.set()
    with pytest.raises(BackupError):
        await first
    assert everything(tmp_path / "repository") == before
    assert json.loads((Path(second.snapshot_ref) / "manifest.json").read_text())["attempt"] == 2


async def test_a_lost_attempt_publishes_nothing_once_the_backup_has_ended(
    tmp_path: Path, images: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(monkeypatch)
    asked = request(tmp_path, images["dense"])
    lost = asyncio.create_task(run(asked))
    await asyncio.to_thread(slow.paused.wait, 20)
    await DirectoryEngine().discard(asked, keep=None)
    assert everything(tmp_path / "repository") == []
    slow.go_on.set()
    with pytest.raises(BackupError):
        await lost
    assert everything(tmp_path / "repository") == []


async def test_an_unfinished_attempt_cannot_be_renamed_over_a_finished_one(
    tmp_path: Path, images: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The older attempt begins to write only after the newer one has prepared, and is the last to finish."""
    slow = Slow(monkeypatch)
    asked = request(tmp_path, images["dense"])
    newer = asyncio.create_task(run(asked, attempt=2))
    await asyncio.to_thread(slow.paused.wait, 20)
    older = await run(asked, attempt=1)
    slow.go_on.set()
    assert await newer == older  # it takes over what is finished
    assert json.loads((Path(older.snapshot_ref) / "manifest.json").read_text())["attempt"] == 1
    assert not [name for name in everything(tmp_path / "repository") if "partial" in name]


async def test_discarding_removes_what_one_backup_has_left_and_nothing_else(
    tmp_path: Path, images: dict[str, Path]
) -> None:
    asked = request(tmp_path, images["dense"])
    folder = tmp_path / "repository" / "vm-1"
    own = [".partial-backup-1-1", ".partial-backup-1-12", ".removed-backup-1-7", "20261101T120000Z-backup-1"]
    others = [
        ".partial-backup-1-1-1",  # of backup `backup-1-1`
        ".partial-backup-2-1",
        ".partial-backup-1-x",
        "20261101T120000Z-backup-2",
        "20261101T120000Z-backup-1-1",
        "20261101T120000Z-x-backup-1",
        "backup-1",
    ]
    for name in own + others:
        (folder / name).mkdir(parents=True)
        (folder / name / "d.zst").write_bytes(b"x")
    for _ in range(2):
        await DirectoryEngine().discard(asked, keep=None)
        assert sorted(path.name for path in folder.iterdir()) == sorted(others)


async def test_discarding_keeps_the_success_that_counts(tmp_path: Path, images: dict[str, Path]) -> None:
    asked = request(tmp_path, images["dense"])
    done = await run(asked)
    (tmp_path / "repository" / "vm-1" / ".partial-backup-1-1").mkdir()
    await DirectoryEngine().discard(asked, keep=done.snapshot_ref)
    assert everything(tmp_path / "repository" / "vm-1") == [
        "20261101T120000Z-backup-1",
        "20261101T120000Z-backup-1/dense.zst",
        "20261101T120000Z-backup-1/manifest.json",
    ]


async def test_discarding_in_a_repository_that_is_not_there_is_nothing(tmp_path: Path) -> None:
    await DirectoryEngine().discard(request(tmp_path, location=str(tmp_path / "nowhere")), keep=None)


async def test_what_cannot_be_discarded_is_named(
    tmp_path: Path, images: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = request(tmp_path, images["dense"])
    done = await run(asked)

    def refuse(name: str, _: str, **_folders: int) -> None:
        raise PermissionError(13, "Permission denied", name)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(BackupError, match="backup-1: the worker may not write there"):
        await DirectoryEngine().discard(asked, keep=None)
    assert len(everything(Path(done.snapshot_ref))) == 2


async def test_progress_is_reported(tmp_path: Path, images: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "REPORT_EVERY", 0.0)
    reports: list[Progress] = []
    await run(request(tmp_path, images["sparse"], images["dense"]), reports=reports)
    await asyncio.sleep(0)
    percents = [report.percent for report in reports]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert len(set(percents)) > 20


def test_standard_readers_read_it(tmp_path: Path, images: dict[str, Path]) -> None:
    folder = Path(asyncio.run(run(request(tmp_path, images["dense"]))).snapshot_ref)
    with (folder / "dense.zst").open("rb") as file:
        assert zstandard.ZstdDecompressor().stream_reader(file).read() == images["dense"].read_bytes()
