"""The embedded server: one per folder, private, and gone when its parent is."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bus.connection import connect
from bus.errors import FolderInUse, ServerError, Unavailable
from bus.server import Server, binary, free_port
from tests.support import alive, eventually

ROOT = Path(__file__).parent.parent.parent


def test_a_folder_has_one_server(server: Server) -> None:
    with pytest.raises(FolderInUse, match="in use"):
        Server(server.folder).start()


@pytest.mark.server
def test_the_folder_is_free_again_after_stop(tmp_path: Path) -> None:
    for _ in range(2):
        server = Server(tmp_path)
        server.start()
        server.stop()


def test_a_port_in_use_is_named(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="did not start"):
        Server(tmp_path / "other", port=server.port).start()


async def test_only_those_with_the_password_get_in(server: Server) -> None:
    with pytest.raises(Unavailable):
        await connect(f"nats://127.0.0.1:{server.port}", "stranger")
    for name in ("nats-password", "nats-url", "nats-server.conf"):
        assert stat.S_IMODE((server.folder / name).stat().st_mode) == 0o600


async def test_no_password_in_messages(server: Server) -> None:
    url = server.url
    server.kill()
    with pytest.raises(Unavailable) as caught:
        await connect(url, "test")
    assert (server.folder / "nats-password").read_text() not in str(caught.value)


@pytest.mark.server
async def test_it_ends_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from bus.server import Server\n"
        "server = Server(Path(sys.argv[1])); server.start(); print('up', flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout
    assert parent.stdout.readline() == b"up\n"
    pid = int((tmp_path / "nats.pid").read_text())
    assert alive(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    await eventually(lambda: not alive(pid))
    again = Server(tmp_path)
    again.start()
    again.stop()


@pytest.mark.server
def test_the_configuration_for_clusters_is_valid() -> None:
    env = {**os.environ, "FLOWS_NATS_PASSWORD": "x", "FLOWS_NATS_STORE": "/tmp/x"}
    checked = subprocess.run([binary(), "-c", str(ROOT / "nats.conf"), "-t"], env=env, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_a_free_port_is_free() -> None:
    assert 0 < free_port("127.0.0.1") < 65536
