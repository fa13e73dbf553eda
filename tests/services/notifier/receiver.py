"""A receiver of webhooks: a real HTTP server that keeps what it gets, and replies as a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def reply(status: str, body: bytes = b"", *more: str) -> bytes:
    """Return a whole reply, e.g. to `reply("500 Internal Server Error", b"…")`."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *more]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


class Call(msgspec.Struct):
    """One request."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def delivery(self) -> str:
        return self.headers["flows-delivery"]

    @property
    def said(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(self.body)
        return found

    @property
    def title(self) -> str:
        return str(self.said["data"]["title"])


class Receiver:
    """Keeps calls. `respond` returns the bytes of a reply, b"" for a connection that is cut, None for silence."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.respond: Callable[[Call], bytes | None] = lambda _: OK
        self.port = 0
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}/hook"

    @property
    def titles(self) -> list[str]:
        return [call.title for call in self.calls]

    async def start(self) -> None:
        """Listen, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Be down."""
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *fields = head.strip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            call = Call(line=line, headers=headers, body=body)
            self.calls.append(call)
            said = self.respond(call)
            if said is None:
                await reader.read()  # until the other one gives up
            else:
                writer.write(said)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Run a receiver."""
    receiver = Receiver()
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()
