"""A recorder that can write no more says so in one line and loses nothing."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bus.connection import connect
from bus.log import Log
from bus.server import Server
from services import database
from tests.databases import different
from tests.running import FLOWS, ROOT, Running
from tests.servers import root
from tests.support import due, eventually, flow, group, repository, sent, vm

pytestmark = pytest.mark.server


def _small_files() -> None:
    """Let the process write no file beyond this size: to it, that is a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))


async def test_a_full_disk(server: Server, log: Log, tmp_path: Path) -> None:
    url = database.sqlite_url(tmp_path / "flows.db")
    env = {**os.environ, "FLOWS_NATS_URL": server.url, "FLOWS_DATABASE_URL": url}
    house = [vm(), group(members=["vm-1"]), repository(), flow()]
    await log.append([sent(one, id=f"h{number}") for number, one in enumerate(house)], expect={})
    for start in range(0, 2000, 500):
        events = [sent(due(f"flow-{start + number}"), id=f"e{start + number}") for number in range(500)]
        await log.append(events, expect={})
    command = [*FLOWS, "serve", "recorder"]
    full = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, preexec_fn=_small_files, check=False
    )
    assert full.returncode == 1
    assert "Traceback" not in full.stderr
    last = json.loads(full.stderr.splitlines()[-1])
    assert (last["level"], last["action"]) == ("critical", "process_failed")
    assert last["message"].startswith("the tables cannot be written, and stay at message")
    assert "is its disk full?" in last["message"]
    recorder = subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.DEVNULL)
    try:
        end = (await log.identity()).last_sequence
        client = await connect(root(server), "test")

        async def caught_up() -> bool:
            engine = database.reader(url)
            async with engine.connect() as connection:
                position = (await connection.exec_driver_sql("SELECT position FROM projection")).scalar()
            await engine.dispose()
            return position == end

        await eventually(caught_up, within=30)
        await client.close()
    finally:
        recorder.terminate()
        recorder.wait()
    rebuilt = tmp_path / "rebuilt.db"
    env["FLOWS_NATS_URL"] = server.url
    subprocess.run([*FLOWS, "rebuild", "--into", str(rebuilt)], cwd=ROOT, env=env, check=True, capture_output=True)
    assert await different(url, database.sqlite_url(rebuilt)) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 96 MB: only root may make one."""
    disk = tmp_path / "small"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(disk)]
    if (made := subprocess.run(command, capture_output=True, text=True, check=False)).returncode:
        pytest.skip(f"a small file system cannot be mounted here: {made.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(file: Path) -> None:
    """Write until there is no space left."""
    out = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        while True:
            os.write(out, b"x" * 4096)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    finally:
        os.close(out)


def test_the_engine_recovers_by_itself_when_the_disk_has_space_again(small_disk: Path) -> None:
    """The log's stream freezes at the first write that fails; only a new start of nats-server thaws it."""
    running = Running(small_disk / "data").start()
    try:
        api = running.client()
        api.create("/policies", name="before")
        ballast = small_disk / "ballast"
        monitor = re.findall(r'http: "(.*)"', (running.folder / "nats-server.conf").read_text())[0]

        def frozen() -> bool:
            fill(ballast)
            api.http.post("/policies", json={"name": "while it is full"})
            return httpx.get(f"http://{monitor}/healthz").status_code == 503

        deadline = time.monotonic() + 60
        while not frozen():
            assert time.monotonic() < deadline
        ballast.unlink()
        api.until_created("/policies", {"name": "after"}, key="after", within=60)
        api.until("/policies", lambda found: {"before", "after"} <= {one["name"] for one in found["policies"]})
    finally:
        assert running.stop() == 0
