"""What the directory engine sees of a repository and of disks, without reading or writing anything."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from schemas.definitions import Disk
from services.worker.engines.directory.engine import DirectoryEngine
from services.worker.engines.simulated.engine import SimulatedEngine
from services.worker.inspection import InspectedVm, Inspection, RepositoryState, Seen


async def seen(location: Path, *disks: Path, own: tuple[str, ...] = (), **given: Any) -> Seen:
    images = [Disk(disk_id=disk.name, path=str(disk)) for disk in disks]
    vms = [InspectedVm(context_id="vm-1", vm_name="web", disks=images)]
    inspection = Inspection(engine="directory", location=str(location), config={}, vms=vms, **given)
    return await DirectoryEngine(own).inspect(inspection)


async def test_all_is_well(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "a.raw").touch()
    found = await seen(tmp_path / "store", tmp_path / "a.raw")
    assert found.well
    assert (found.repository.there, found.repository.writable) == (True, True)
    space = os.statvfs(tmp_path)
    assert found.repository.total_bytes == space.f_blocks * space.f_frsize
    assert found.repository.free_bytes is not None
    assert [*(tmp_path / "store").iterdir()] == []


async def test_a_repository_that_is_not_there(tmp_path: Path) -> None:
    found = await seen(tmp_path / "store")
    assert not found.well
    missing = f"the repository folder {tmp_path / 'store'} does not exist: create or mount it"
    assert found.repository == RepositoryState(problem=missing)


async def test_a_repository_that_cannot_be_written(tmp_path: Path, monkeypatch: Any) -> None:
    """Whoever runs the tests may write everywhere: the system's word is replaced."""
    monkeypatch.setattr(os, "supports_effective_ids", set())
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    found = (await seen(tmp_path)).repository
    assert (found.there, found.writable) == (True, False)
    assert found.problem == f"the worker may not write in the repository folder {tmp_path}"


async def test_disks_that_are_not_there_are_symlinks_or_folders(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "there").touch()
    (tmp_path / "symlink").symlink_to(tmp_path / "there")
    names = ("none", "symlink", "there", "folder")
    found = await seen(tmp_path, *(tmp_path / name for name in names))
    assert found.repository.problem is None
    about = [f"disk {name!r} of VM 'web': {tmp_path / name}" for name in names]
    assert found.disk_problems == [
        f"{about[0]} does not exist",
        f"{about[1]} is not a file but a symlink: name the file that it leads to",
        f"{about[3]} is not a file but a folder",
    ]


async def test_what_may_not_be_there(tmp_path: Path) -> None:
    """The roots, and the engine's own files, hold for a look as for a backup."""
    disk = tmp_path / "a.raw"
    disk.touch()
    found = await seen(tmp_path, disk, disk_roots=["/srv"], repository_roots=["/mnt"])
    assert "lies in none of the repository_roots (/mnt)" in str(found.repository.problem)
    assert "lies in none of the disk_roots (/srv)" in found.disk_problems[0]
    found = await seen(tmp_path, disk, own=(str(tmp_path),))
    assert not found.repository.there
    assert len(found.disk_problems) == 1


async def test_the_simulated_engine_has_nothing_to_look_at() -> None:
    assert (await SimulatedEngine().inspect(Inspection(engine="simulated", location="/x", config={}))).well
