"""The demo: what a run of it writes."""

from __future__ import annotations

from pathlib import Path

import zstandard

from cli.demo import images
from services.worker.engines.directory.engine import LEVEL


def test_the_demo_bounds_what_it_writes(tmp_path: Path) -> None:
    """It wrote 43 GB a day: 30 MiB a minute."""
    disks = [disk for of_vm in images(tmp_path / "disks").values() for disk in of_vm]
    compressor = zstandard.ZstdCompressor(level=LEVEL)
    written = sum(len(compressor.compress(disk.read_bytes())) for disk in disks)
    assert 60 * 1024 < written < 200 * 1024
    assert sum(disk.stat().st_size for disk in disks) > 100 << 20, "they look like disks nevertheless"
