"""Crowds at the API's door: who asks for nothing, and who does not read, cost little and keep nobody out."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from bus.connection import connect
from bus.log import Log
from schemas.events import Rejected
from tests.running import Running, service, wait_until
from tests.support import sent

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

MEGABYTE = 1 << 20


def test_half_sent_heads_lock_nobody_out(tmp_path: Path) -> None:
    running = Running(tmp_path / "data", descriptors=300).start()
    try:
        with ExitStack() as crowd:
            for _ in range(320):
                client = crowd.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=30))
                client.sendall(b"GET /api/v1/policies HTTP/1.1\r\nHost: x\r\nX: ")
            for _ in range(10):
                assert httpx.get(f"{running.url}/health/live", timeout=5).status_code == 200
            api = running.client()
            assert api.create("/policies", name="in the crowd")["version"] == 1
            assert api.get("/policies")["total"] == 1
            api.close()
    finally:
        assert running.stop() == 0


@pytest.fixture
def long_log(tmp_path: Path) -> Iterator[Running]:
    """An engine with some twelve megabytes on its log."""
    running = Running(tmp_path / "data").start()
    asyncio.run(_fill(running.nats_url))
    yield running
    assert running.stop() == 0


async def _fill(nats_url: str) -> None:
    client = await connect(nats_url, "registry")
    no = Rejected(entity="vm", verb="create", id="vm", code="conflict", reason="x" * 2_000)  # nobody reacts to it
    for start in range(0, 6_000, 500):
        await Log(client).append([sent(no, id=f"e{one}") for one in range(start, start + 500)], expect={})
    await client.close()


def test_a_hundred_streams_that_nobody_reads_cost_little_and_are_cut(long_log: Running) -> None:
    """Each begins at the beginning of the log, and its client takes nothing."""
    process = service(long_log, "api")
    before, most = _memory(process), 0
    asking = f"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {long_log.token}\r\n"
    with ExitStack() as crowd:
        for _ in range(100):
            client = crowd.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            client.connect(("127.0.0.1", long_log.port))
            client.sendall(f"{asking}Last-Event-ID: 0\r\n\r\n".encode())

        def open_streams() -> int:
            nonlocal most
            most = max(most, _memory(process))
            return _connections(process)

        wait_until(lambda: open_streams() >= 100)
        wait_until(lambda: open_streams() < 10, within=100)
        assert httpx.get(f"{long_log.url}/health/live", timeout=30).status_code == 200
    assert most - before < 80 * MEGABYTE


def _memory(process: int) -> int:
    """Return the bytes of memory that a process has."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def _connections(process: int) -> int:
    """Return how many sockets a process has open."""
    links = [str(link.readlink()) for link in Path(f"/proc/{process}/fd").iterdir() if link.is_symlink()]
    return sum(link.startswith("socket:") for link in links)
