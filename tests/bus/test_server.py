"""The embedded server: one per folder, private, and gone when its parent is."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bus.connection import connect
from bus.errors import FolderInUse, ServerError, Unavailable
from bus.identities import USERS
from bus.server import CREDENTIALS, Server, binary, free_port
from bus.setup import declare_at
from tests.ports import reserved_port
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
    passwords = [server.folder / CREDENTIALS / user for user in USERS]
    for file in (server.folder / "nats-url", server.folder / "nats-server.conf", *passwords):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((server.folder / CREDENTIALS).stat().st_mode) == 0o700
    assert len({file.read_text() for file in passwords}) == len(USERS)


async def test_no_password_in_messages(server: Server) -> None:
    url = server.url_of("operator")
    server.kill()
    with pytest.raises(Unavailable) as caught:
        await connect(url, "test")
    assert not any(file.read_text().strip() in str(caught.value) for file in (server.folder / CREDENTIALS).iterdir())


@pytest.mark.server
async def test_a_folder_of_a_version_with_one_user_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "nats-password").write_text("old")
    (tmp_path / "nats-url").write_text("nats://flows:old@127.0.0.1:4222\n")
    server = Server(tmp_path)
    server.start()
    try:
        assert not (tmp_path / "nats-password").exists()
        assert (tmp_path / "nats-url").read_text().startswith("nats://subscriber:")
        await declare_at(server.url)
    finally:
        server.stop()


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


def test_a_free_port_is_free_and_not_one_that_the_system_gives_to_connections() -> None:
    ports = {free_port("127.0.0.1") for _ in range(20)}
    assert len(ports) > 1
    assert max(ports) < int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    taken = reserved_port()
    with pytest.raises(OSError, match="in use"), socket.socket() as other:
        other.bind(("127.0.0.1", taken))


def test_a_port_that_somebody_else_took_first_is_not_insisted_on(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [reserved_port() for _ in range(4)]
    # the port of the first try is taken, and the monitor's of the second one
    ports = iter([server.port, free[0], free[1], server.port, free[2], free[3]])
    monkeypatch.setattr("bus.server.free_port", lambda _: next(ports))
    other = Server(tmp_path / "other")
    other.start()
    assert other.port == free[2]
    other.stop()


def program(folder: Path, says: str) -> str:
    """Return a program that says so, whatever it is asked."""
    file = folder / "nats-server"
    file.write_text(f"#!/bin/sh\necho '{says}'\n")
    file.chmod(0o755)
    return str(file)


@pytest.mark.server
def test_another_program_can_be_named(tmp_path: Path) -> None:
    named = tmp_path / "nats-server"
    named.symlink_to(binary())
    server = Server(tmp_path / "data", program=str(named))
    server.start()
    try:
        pid = int((server.folder / "nats.pid").read_text())
        assert Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0] == os.fsencode(named)
    finally:
        server.stop()


@pytest.mark.server
@pytest.mark.parametrize("version", ["2.12.1", "2.15.1", "3.0.0", "2.16.0-RC.1"])
def test_versions_that_will_do(version: str, tmp_path: Path) -> None:
    named = program(tmp_path, f"nats-server: v{version}")
    assert binary(named) == named


@pytest.mark.server
@pytest.mark.parametrize(
    ("says", "cause"),
    [
        ("nats-server: v2.11.11", "is nats-server 2.11.11: 2.12.1 or newer is needed"),
        ("nats-server: v2.12.0", "is nats-server 2.12.0: 2.12.1 or newer is needed"),
        ("nginx version: nginx/1.27.0", "is no nats-server"),
        ("", "is no nats-server"),
    ],
)
def test_programs_that_will_not_do(says: str, cause: str, tmp_path: Path) -> None:
    named = program(tmp_path, says)
    with pytest.raises(ServerError, match=re.escape(f"{named} {cause}")):
        Server(tmp_path / "data", program=named).start()
    assert not (tmp_path / "data").exists()


@pytest.mark.server
def test_a_file_that_is_no_program_is_named(tmp_path: Path) -> None:
    file = tmp_path / "nats-server"
    with pytest.raises(ServerError, match=f"FLOWS_NATS_SERVER is {file}: there is no program"):
        binary(str(file))
    file.write_bytes(b"\x7fELF, and then nothing")
    with pytest.raises(ServerError, match="there is no program there that may be executed"):
        binary(str(file))
    file.chmod(0o755)
    with pytest.raises(ServerError, match="does not run as a nats-server"):
        binary(str(file))
