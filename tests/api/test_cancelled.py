"""A request that is cancelled gets a problem; on a real process at its end, and as a unit."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import Any

import pytest

from api.cancelled import respond_when_cancelled
from tests.running import Running, service


@pytest.mark.server
def test_a_client_that_never_finishes_its_body_hears_503_at_the_end(tmp_path: Any) -> None:
    running = Running(tmp_path / "data").start()
    try:
        head = f"POST /api/v1/policies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {running.token}\r\n"
        with socket.create_connection(("127.0.0.1", running.port), timeout=60) as client:
            client.sendall(f'{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"name": '.encode())
            running.client().until("/policies", lambda found: found["total"] == 0)  # it has been read by now
            os.kill(service(running, "api"), signal.SIGTERM)
            response = b""
            while received := client.recv(65536):
                response += received
        head, _, body = response.decode().partition("\r\n\r\n")
        assert head.startswith("HTTP/1.1 503")
        assert "content-type: application/problem+json" in head.lower()
        assert "retry-after: 2" in head.lower()
        assert '"status":503' in body
        running.client().until_up()
    finally:
        assert running.stop() == 0


async def run(app: Any) -> list[dict[str, Any]]:
    """Return what an application has sent once its task was cancelled while it waited."""
    waiting = asyncio.Event()
    sent: list[dict[str, Any]] = []

    async def receive() -> Any:
        waiting.set()
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    task = asyncio.create_task(respond_when_cancelled(app)({"type": "http"}, receive, send))  # type: ignore[arg-type]
    await waiting.wait()
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        sent.append({"type": "cancelled"})
    return sent


async def test_before_its_response_it_gets_one() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    start, body = await run(app)
    assert (start["status"], body["more_body"]) == (503, False)
    assert (b"content-type", b"application/problem+json") in start["headers"]


async def test_what_has_begun_is_broken_off() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start"})
        await receive()

    assert [one["type"] for one in await run(app)] == ["http.response.start", "cancelled"]


async def test_other_errors_are_none_of_its_business() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError

    with pytest.raises(ValueError):
        await respond_when_cancelled(app)({"type": "http"}, None, None)  # type: ignore[arg-type, typeddict-item]
