"""The server of a distributed set-up: nats.conf, passwords in files, and TLS with a CA of one's own."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus import process
from bus.address import with_files
from bus.configuration import nats_conf
from bus.connection import connect
from bus.errors import LogError, Unavailable
from bus.log import Log
from bus.server import CREDENTIALS, Server, binary
from bus.setup import declare_at
from tests.cli.inside import called
from tests.ports import reserved_port
from tests.running import ROOT
from tests.support import policy, sent, wait_until

pytestmark = pytest.mark.server


def test_what_is_checked_in_is_what_the_table_says() -> None:
    assert (ROOT / "nats.conf").read_text() == nats_conf()


class Tls:
    """A server of nats.conf, and the folder with all that belongs to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = reserved_port()
        self.ca = folder / "ca.pem"
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, *options: str) -> None:
        assert called("nats-config", str(self.folder), *options).code == 0
        conf = self.folder / "nats.conf"
        text = conf.read_text().replace("0.0.0.0:4222", f"127.0.0.1:{self.port}")
        conf.write_text(text.replace("0.0.0.0:8222", f"127.0.0.1:{reserved_port()}"))

    def start(self) -> None:
        files = {"FLOWS_NATS_CERTIFICATE": "server.pem", "FLOWS_NATS_KEY": "server.key", "FLOWS_NATS_STORE": "store"}
        env = {**os.environ, **{name: str(self.folder / file) for name, file in files.items()}}
        said = self.folder / "said"
        with said.open("wb") as output:
            self.process = process.spawn([binary(), "-c", str(self.folder / "nats.conf")], output=output, env=env)
        wait_until(lambda: b"Server is ready" in said.read_bytes(), why=said.read_text)

    def stop(self) -> None:
        if self.process is not None:
            process.stop(self.process, patience=10)

    def url(self, *, ca: Path | None, passwords: Path | None = None) -> str:
        folder = str(passwords or self.folder / "credentials")
        return with_files(f"nats://127.0.0.1:{self.port}", credentials=folder, ca=None if ca is None else str(ca))


def certificates(folder: Path) -> None:
    """Make a CA and a certificate as docs/nats-server.md tells."""
    text = (ROOT / "docs" / "nats-server.md").read_text()
    (commands,) = re.findall(r"```sh\n(openssl .*?)```", text, re.DOTALL)
    folder.mkdir(exist_ok=True)
    subprocess.run(["sh", "-ec", commands], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tls]:
    tls = Tls(tmp_path_factory.mktemp("tls"))
    certificates(tls.folder)
    tls.configure()
    tls.start()
    yield tls
    tls.stop()


async def test_the_right_ca_and_password_work(tls: Tls) -> None:
    url = tls.url(ca=tls.ca)
    await declare_at(url)
    client = await connect(url, "registry")
    assert await Log(client).append([sent(policy())], expect={})
    await client.close()


async def test_another_ca_is_refused_and_said(tls: Tls, tmp_path: Path) -> None:
    certificates(tmp_path / "other")
    with pytest.raises(Unavailable, match=r"certificate is not to be trusted .*is FLOWS_NATS_CA the CA that signed it"):
        await connect(tls.url(ca=tmp_path / "other" / "ca.pem"), "registry")
    with pytest.raises(Unavailable, match="certificate is not to be trusted"):  # the system's CAs signed it neither
        await connect(tls.url(ca=None), "registry")


async def test_a_ca_that_cannot_be_read_is_said(tls: Tls, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"cannot read FLOWS_NATS_CA.*No such file"):
        await connect(tls.url(ca=tmp_path / "none.pem"), "registry")
    (tmp_path / "none.pem").write_text("no certificate")
    with pytest.raises(Unavailable, match="cannot read FLOWS_NATS_CA"):
        await connect(tls.url(ca=tmp_path / "none.pem"), "registry")


async def test_a_server_without_tls_gets_no_password_from_who_knows_a_ca(server: Server, tls: Tls) -> None:
    with pytest.raises(Unavailable, match="the server has no TLS, and FLOWS_NATS_CA says that it must"):
        await connect(with_files(server.url, ca=str(tls.ca)), "registry")


async def test_passwords_of_another_cluster_are_refused_and_said(server: Server, tls: Tls, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"refuses the user or password .*Are they another cluster's\?"):
        await connect(tls.url(ca=tls.ca, passwords=server.folder / CREDENTIALS), "registry")
    with pytest.raises(Unavailable, match=r"cannot read the password of 'registry'.*FLOWS_NATS_CREDENTIALS"):
        await connect(tls.url(ca=tls.ca, passwords=tmp_path), "registry")


async def test_the_operator_restores_a_log_while_the_configuration_says_so(tmp_path: Path) -> None:
    tls = Tls(tmp_path)
    certificates(tls.folder)
    tls.configure("--restoring")
    tls.start()
    try:
        url = tls.url(ca=tls.ca)
        await declare_at(url)
        client = await connect(url, "flows-restore")
        assert await Log(client).append([sent(policy())], expect={})
        await client.close()
        client = await connect(url, "registry")
        with pytest.raises(LogError):
            await Log(client, reply_timeout=0.5).append([sent(policy())], expect={})
        assert "does not permit its user 'registry'" in (client.end or "")
        await client.close()
    finally:
        tls.stop()


def test_passwords_that_are_there_are_kept(tmp_path: Path) -> None:
    assert called("nats-config", str(tmp_path)).code == 0
    before = {file.name: file.read_text() for file in (tmp_path / "credentials").iterdir()}
    (tmp_path / "credentials" / "worker").unlink()
    assert called("nats-config", str(tmp_path)).code == 0
    after = {file.name: file.read_text() for file in (tmp_path / "credentials").iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"worker"}
    assert after["worker"].strip() in (tmp_path / "nats-passwords").read_text()
    assert {file.stat().st_mode & 0o077 for file in tmp_path.rglob("*")} == {0}
