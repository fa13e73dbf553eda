"""Connections: one user on all servers of a cluster, and no end that goes unnoticed."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bus.address import Address, parse_url, without_password
from bus.connection import connect
from bus.errors import Unavailable
from bus.log import Log
from bus.server import CREDENTIALS, Server
from services import database
from tests.cluster import Cluster
from tests.ports import reserved_port
from tests.running import FLOWS, ROOT
from tests.servers import root
from tests.support import eventually


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with Cluster(tmp_path) as cluster:
        yield cluster


async def test_a_connection_moves_to_a_server_that_it_was_never_told_of(cluster: Cluster) -> None:
    client = await connect(cluster.url, "worker")
    cluster.members[0].kill()
    await eventually(lambda: (place := client.connected_url) and place.port != cluster.members[0].port)
    await client.flush()
    await client.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # nats-py closes no refused socket
async def test_three_refusals_end_a_connection_that_is_not_closed(server: Server) -> None:
    """The server comes back with another password: the client would ask it for ever."""
    ended = asyncio.Event()

    async def on_closed() -> None:
        ended.set()

    client = await connect(server.url, "worker", on_closed=on_closed)
    server.kill()
    (server.folder / CREDENTIALS / "worker").write_text("another")
    server.start()
    await asyncio.wait_for(ended.wait(), 15)
    assert client.end == (
        "NATS refuses the user or password (Authorization Violation): check those in FLOWS_NATS_URL or "
        "FLOWS_NATS_CREDENTIALS. Are they another cluster's?"
    )
    await client.close()


async def test_a_client_that_has_stopped_trying_has_ended(server: Server) -> None:
    """An error that nats-py does not expect ends its reconnecting without a word."""
    ended = asyncio.Event()

    async def on_closed() -> None:
        ended.set()

    client = await connect(root(server), "test", on_closed=on_closed)

    def fails() -> bytes:
        raise ValueError("unforeseen")

    client._connect_command = fails  # type: ignore[method-assign]
    server.kill()
    server.start()
    await asyncio.wait_for(ended.wait(), 15)
    assert client.end == "NATS: unforeseen"
    await client.close()


def change_passwords(server: Server) -> None:
    """Let the running server ask for other passwords; it ends the connections that were made with the old ones."""
    config = server.folder / "nats-server.conf"
    config.write_text(config.read_text().replace('password: "', 'password: "another-'))
    os.kill(int((server.folder / "nats.pid").read_text()), signal.SIGHUP)


@pytest.mark.parametrize("names", [("registry", "worker"), ("api",)])
async def test_a_service_whose_password_is_refused_ends_and_says_why(
    server: Server, log: Log, tmp_path: Path, names: tuple[str, ...]
) -> None:
    """A worker and a registry wait in the framework's loop, which on a closed connection lets nobody else run."""
    (tmp_path / "token").write_text("token")
    env = {
        "FLOWS_NATS_URL": server.url,
        "FLOWS_DATABASE_URL": database.sqlite_url(tmp_path / "flows.db"),
        "FLOWS_ADMIN_TOKEN_FILE": str(tmp_path / "token"),
        "FLOWS_PORT": str(reserved_port()),
    }
    database.bring_up_to_date(env["FLOWS_DATABASE_URL"])
    said = tmp_path / "said"
    with said.open("wb") as output:
        process = subprocess.Popen([*FLOWS, "serve", *names], cwd=ROOT, env={**os.environ, **env}, stderr=output)
    try:
        await eventually(lambda: b"started" in said.read_bytes() or b"startup complete" in said.read_bytes())
        change_passwords(server)
        await eventually(lambda: process.poll() is not None, why=said.read_text())
    finally:
        process.kill()
        process.wait()
    text = said.read_text()
    assert process.returncode == 1
    assert "NATS refuses the user or password" in text
    assert "Traceback" not in text.splitlines()[-1]
    assert not any(file.read_text().strip() in text for file in (server.folder / CREDENTIALS).iterdir())


@pytest.mark.parametrize(
    ("url", "servers", "credentials"),
    [
        ("nats://h:4222", ["nats://h:4222"], {}),
        ("h:4222", ["nats://h:4222"], {}),
        ("nats://u:p@h", ["nats://h"], {"user": "u", "password": "p"}),
        (
            "nats://u:a%40b%2C@h1:1,nats://h2:2, h3",
            ["nats://h1:1", "nats://h2:2", "nats://h3"],
            {"user": "u", "password": "a@b,"},
        ),
        ("nats://h1:1,nats://u:p@h2:2", ["nats://h1:1", "nats://h2:2"], {"user": "u", "password": "p"}),
        ("tls://token@[::1]:4222", ["tls://[::1]:4222"], {"token": "token"}),
    ],
)
def test_credentials_are_options_and_hold_for_all_servers(
    url: str, servers: list[str], credentials: dict[str, str]
) -> None:
    assert parse_url(url) == Address(servers=servers, credentials=credentials)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://u:hidden@h:1",
        "nats://u:hid/den@h:4222",
        "nats://u:12/hidden@h:4222",
        "nats://u:hidden#@h:4222",
        "nats://u:hidden@h:port",
        "nats://u:hidden@h:99999",
        "nats://u:hidden@h:1,nats://u:hidden2@h:2",
        "nats://u:hidden@h:1,nats://[:2",
    ],
)
async def test_what_is_no_address_is_said_without_the_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"write nats://|same on all") as caught:
        await connect(url, "test")
    assert "hid" not in str(caught.value)
    assert "den" not in without_password(url)


async def test_a_refusal_at_the_first_connection_is_clear(server: Server) -> None:
    with pytest.raises(Unavailable, match="refuses the user or password") as caught:
        await connect(f"nats://flows:hidden@127.0.0.1:{server.port}", "test")
    assert "hidden" not in str(caught.value)
    assert "running?" not in str(caught.value)


async def test_what_is_not_permitted_ends_the_connection_and_is_said(server: Server) -> None:
    ended = asyncio.Event()

    async def on_closed() -> None:
        ended.set()

    client = await connect(server.url, "scheduler", on_closed=on_closed)
    await client.publish("flow.due", b"")
    await asyncio.wait_for(ended.wait(), 15)
    assert client.end == (
        "NATS does not permit its user 'scheduler' this (permissions violation for publish to \"flow.due\"): run each "
        "part as its own user, and the server with the nats.conf of this version"
    )
    assert client.is_closed
    await client.close()


async def test_a_reply_that_nobody_waits_for_any_more_ends_nothing(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    client = await connect(server.url, "worker")
    await client.publish("_INBOX.api.x", b"")
    await eventually(lambda: "does not permit" in caplog.text)
    assert client.end is None
    await client.close()


async def test_a_request_that_was_not_sent_before_a_denial_leaves_no_line_in_the_log(server: Server) -> None:
    """Nobody asks for its reply. That asyncio says so would be the last line, after what has happened."""
    said: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    client = await connect(server.url, "worker")
    client._resp_map["unsent"] = asyncio.get_running_loop().create_future()
    await client.close_denied()
    client._resp_map.clear()
    gc.collect()
    assert said == []
