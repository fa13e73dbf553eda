"""A connection cannot be held for nothing: over real sockets, with shorter times than in earnest."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
import pytest

from api.headers import HEADERS
from cli import connections
from cli.limits import Limits
from tests.served import connected, served
from tests.support import eventually

pytestmark = pytest.mark.server

SOON = 20.0  # seconds: generous, as other tests run beside it
LARGE = 40_000_000
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class App:
    """Reads a body and says how long it was. `/large` comes in many parts, `/once` in one, `/hold` waits for `hold`."""

    def __init__(self) -> None:
        self.begun = 0
        self.sent = 0
        self.ended = 0
        self.hold = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.begun += 1
        try:
            await self._respond(scope, receive, send)
        finally:
            self.ended += 1

    async def _respond(self, scope: Any, receive: Any, send: Any) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size, more = size + len(message["body"]), message["more_body"]
        if scope["path"] == "/hold":
            await self.hold.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-received", str(size).encode())]})
        if scope["path"] == "/large":
            gone = asyncio.create_task(receive())
            while self.sent < LARGE and not gone.done():
                await send({"type": "http.response.body", "body": b"x" * 20_000, "more_body": True})
                self.sent += 20_000
            gone.cancel()
        last = b"x" * LARGE if scope["path"] == "/once" else b"done"
        await send({"type": "http.response.body", "body": last, "more_body": False})


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("HEAD_SECONDS", 0.5), ("IDLE_SECONDS", 1), ("BODY_SECONDS", 0.5), ("READ_SECONDS", 2.0)):
        monkeypatch.setattr(connections, name, seconds)


async def to_the_end(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the connection is closed, however it is."""
    received = b""
    async with asyncio.timeout(SOON):
        try:
            while piece := await reader.read(65_536):
                received += piece
        except ConnectionError:
            pass
    return received


def problem(response: bytes, status: int) -> str:
    """Return what a response says that must be a problem, with all that every response has."""
    head, _, body = response.decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    assert first.startswith(f"HTTP/1.1 {status} ")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    assert {name.lower(): value for name, value in HEADERS.items()}.items() <= headers.items()
    found = msgspec.json.decode(body)
    assert found["status"] == status
    return str(found["detail"])


async def test_a_head_has_its_time(times: None) -> None:
    async with served(App()) as port:
        for beginning in (b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX: y"):
            async with connected(port) as (reader, writer):
                writer.write(beginning)
                assert "the head of a request must come within" in problem(await to_the_end(reader), 408)
        async with connected(port) as (reader, _):
            assert await to_the_end(reader) == b""


async def test_a_head_that_drips_has_no_more(times: None) -> None:
    async with served(App()) as port, connected(port) as (reader, writer):
        ending = asyncio.create_task(to_the_end(reader))
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        while not ending.done():
            writer.write(b"y")
            await asyncio.sleep(0.05)  # not a wait: how slowly it comes
        problem(await ending, 408)


async def test_so_does_the_head_of_a_further_request(times: None) -> None:
    async with served(App()) as port, connected(port) as (reader, writer):
        writer.write(GET)
        await reader.readuntil(b"done")
        ending = asyncio.create_task(to_the_end(reader))
        while not ending.done():
            writer.write(b"\r\n" if not ending.done() else b"")
            await asyncio.sleep(0.05)  # not a wait: how slowly it comes
        assert b" 200 " not in await ending


async def test_a_connection_without_further_requests_is_closed(times: None) -> None:
    async with served(App()) as port, connected(port) as (reader, writer):
        writer.write(GET)
        assert (await to_the_end(reader)).endswith(b"done\r\n0\r\n\r\n")


async def test_a_body_has_its_time_and_more_while_it_comes(times: None, monkeypatch: pytest.MonkeyPatch) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
    app = App()
    async with served(app) as port:
        async with connected(port) as (reader, writer):
            writer.write(head + b"x" * 99)
            assert "the body of a request must come within" in problem(await to_the_end(reader), 408)
        await eventually(lambda: app.ended == 1)  # the application is not left waiting for the rest
        monkeypatch.setattr(connections, "BODY_PACE", 1_000)
        async with connected(port) as (reader, writer):
            writer.write(head)
            for _ in range(50):
                writer.write(b"x" * 2_000)
                await asyncio.sleep(0.06)  # not a wait: three seconds in all, at thirty times the pace
            assert b"x-received: 100000" in await reader.readuntil(b"done")


async def test_a_response_has_all_the_time(times: None) -> None:
    app = App()
    async with served(app) as port, connected(port) as (reader, writer):
        writer.write(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(3)  # not a wait: more than any time-out
        app.hold.set()
        await reader.readuntil(b"done")


async def test_who_does_not_read_is_cut(times: None) -> None:
    app = App()
    async with served(app) as port, connected(port) as (reader, writer):
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually(lambda: app.ended == 1, within=SOON)
        assert app.sent < LARGE / 2


async def test_who_does_not_read_the_end_is_cut_too(times: None) -> None:
    """The response is complete, and the connection is to be closed: what was written waits in the server alone."""
    app = App()
    async with served(app) as port, connected(port) as (reader, writer):
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /once HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await eventually(lambda: app.ended == 1, within=SOON)
        await asyncio.sleep(connections.READ_SECONDS + 3)  # not a wait: for so long nobody reads
        reader._transport.resume_reading()  # type: ignore[attr-defined]
        assert len(await to_the_end(reader)) < LARGE


async def test_who_reads_slowly_is_not(times: None) -> None:
    app = App()
    async with served(app) as port, connected(port) as (reader, writer):
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        received, pieces = 0, 0
        while piece := await reader.read(65_536):
            received, pieces = received + len(piece), pieces + 1
            if pieces < 120:
                await asyncio.sleep(0.05)  # not a wait: six seconds without having read all that is there
        assert received > LARGE


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500,  # somebody speaks TLS
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 40_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_a_problem(garbage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with served(App()) as port, connected(port) as (reader, writer):
        writer.write(garbage)
        assert "no HTTP that can be read" in problem(await to_the_end(reader), 400)
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


async def test_garbage_instead_of_a_body_ends_the_request(caplog: pytest.LogCaptureFixture) -> None:
    app = App()
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with served(app) as port:
        async with connected(port) as (reader, writer):
            writer.write(head + b"5\r\nhello\r\n")
            await asyncio.sleep(0.1)  # not a wait: what follows is a piece of its own
            writer.write(b"what?\r\n")
            problem(await to_the_end(reader), 400)
        await eventually(lambda: app.ended == 1)
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


async def test_garbage_after_a_response_that_did_not_wait_for_the_body(caplog: pytest.LogCaptureFixture) -> None:
    async def refusing(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await App()(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with served(refusing) as port, connected(port) as (reader, writer):
        writer.write(head)
        assert b" 401 " in await reader.readuntil(b"\r\n\r\n")
        writer.write(b"what?\r\n")
        await to_the_end(reader)
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


async def test_who_asks_for_nothing_locks_nobody_out() -> None:
    async with served(App(), Limits(total=8, per_address=8, backlog=100)) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(40)]
        for _, writer in held:
            writer.write(b"GET / HTTP/1.1\r\nX: ")
        for _ in range(20):
            async with connected(port) as (reader, writer), asyncio.timeout(5):
                writer.write(GET)
                await reader.readuntil(b"done")
        ended = [reader for reader, _ in held if reader.at_eof() or reader.exception()]
        assert len(ended) >= 32
        for _, writer in held:
            writer.transport.abort()
        await asyncio.sleep(0)


async def test_those_who_are_served_stay_and_one_too_many_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    app = App()
    async with served(app, Limits(total=3, per_address=3, backlog=100)) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        for _, writer in held:
            writer.write(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually(lambda: app.begun == 3)
        for _ in range(2):
            async with connected(port) as (reader, _):
                response = await to_the_end(reader)
                assert "too many connections" in problem(response, 503)
                assert b"\r\nretry-after: 5\r\n" in response
        app.hold.set()
        for reader, writer in held:
            await reader.readuntil(b"done")
            writer.transport.abort()
        await asyncio.sleep(0)
    (line,) = [one for one in caplog.records if one.name == "api.refusals"]
    assert (line.address, line.status) == ("127.0.0.1", 503)  # type: ignore[attr-defined]
