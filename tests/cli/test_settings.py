"""`flows settings`, on an engine on which nobody has set anything yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.support import flows
from tests.running import Client, Running


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as context:
        for variable in ("FLOWS_MAX_CONCURRENT_JOBS", "FLOWS_KEEP_DAYS"):
            context.delenv(variable, raising=False)
        running = Running(tmp_path_factory.mktemp("engine") / "data").start()
    yield running
    assert running.stop() == 0


@pytest.fixture
def api(running: Running) -> Iterator[Client]:
    client = running.client()
    yield client
    client.close()


def said(running: Running, *arguments: str) -> list[str]:
    done = flows("settings", *arguments, "--url", running.url, "--data", str(running.folder))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.splitlines()


def test_settings_are_shown_set_and_lifted(running: Running, api: Client) -> None:
    nothing = api.http.get("/settings")
    assert nothing.headers["etag"] == '"0"'
    assert nothing.json() == {
        "max_concurrent_jobs": None,
        "keep_days": None,
        "disk_roots": None,
        "repository_roots": None,
        "block_devices": False,
        "version": 0,
        "updated_at": None,
        "updated_by": None,
    }
    assert said(running) == [
        "max-concurrent-jobs  none   backups in flight over all flows",
        "keep-days            none   days for which history is kept in the tables",
        "disk-roots           none   folders under which disks may be read; none: anywhere that is allowed",
        "repository-roots     none   folders under which repositories may be; none: anywhere that is allowed",
        "block-devices        no     whether disks may be block devices",
        "version 0: nothing has been set yet",
    ]
    lines = said(running, "set", "--max-concurrent-jobs", "4", "--keep-days", "90")
    assert lines[0].split()[:2] == ["max-concurrent-jobs", "4"]
    assert lines[1].split()[:2] == ["keep-days", "90"]
    assert lines[5].startswith("version 1: set by admin at ")
    assert said(running) == said(running, "show") == lines
    assert [line.split()[1] for line in said(running, "set", "--keep-days", "none")[:2]] == ["4", "none"]
    found = api.get("/settings")
    assert (found["max_concurrent_jobs"], found["keep_days"], found["version"]) == (4, None, 2)
    assert api.get("/queue")["limits"]["total"] == 4
    assert (
        "max_concurrent_jobs 4, keep_days none, disk_roots none" in flows("log", "--data", str(running.folder)).stdout
    )


def test_roots_are_set_and_lifted(running: Running, api: Client, tmp_path: Path) -> None:
    lines = said(running, "set", "--disk-roots", f"{tmp_path}:/srv/vms", "--block-devices")
    assert lines[2].split()[:2] == ["disk-roots", f"{tmp_path}:/srv/vms"]
    assert lines[4].split()[:2] == ["block-devices", "yes"]
    disk = {"disk_id": "d", "path": "/opt/d.raw"}
    refused = api.call("POST", "/vm-contexts", {"vm_name": "out", "disks": [disk]}, status=422)
    assert refused["errors"][0]["field"] == "disks"
    assert f"/opt/d.raw lies in none of the disk_roots ({tmp_path}, /srv/vms)" in str(refused)
    assert api.create("/vm-contexts", vm_name="in", disks=[{**disk, "path": f"{tmp_path}/d.raw"}])
    assert api.create("/vm-contexts", vm_name="lv", disks=[{**disk, "path": "/dev/vg/lv"}])
    lines = said(running, "set", "--disk-roots", "none", "--no-block-devices")
    assert [line.split()[1] for line in lines[2:5]] == ["none", "none", "no"]
    # the engine's own folder is nobody's disk and no repository, whatever is set
    own = {**disk, "path": str(running.folder / "admin-token")}
    refused = api.call("POST", "/vm-contexts", {"vm_name": "own", "disks": [own]}, status=422)
    assert f"lies in {running.folder}" in str(refused)
    store = {"name": "own", "type": "directory", "location": str(running.folder / "jetstream")}
    refused = api.call("POST", "/repositories", store, status=422)
    assert refused["errors"][0]["field"] == "location"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("set",), "nothing to set"),
        (("set", "--keep-days", "0"), "'0': a whole number from 1 to 36,500 is needed, or none"),
        (("set", "--max-concurrent-jobs", "many"), "'many': a whole number"),
        (("set", "--disk-roots", "srv"), "'srv': absolute paths are needed"),
        (("sett",), "unexpected extra argument"),
    ],
)
def test_what_makes_no_sense_is_refused(running: Running, arguments: tuple[str, ...], why: str) -> None:
    done = flows("settings", *arguments, "--data", str(running.folder))
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr


def test_a_rebuilt_database_has_them_too(running: Running, tmp_path: Path) -> None:
    assert said(running, "set", "--keep-days", "12")
    other = tmp_path / "rebuilt.db"
    flows("rebuild", "--into", str(other), "--data", str(running.folder))
    done = flows("diff", str(running.folder / "flows.db"), str(other))
    assert done.stdout == "0 differences\n", done.stdout + done.stderr
