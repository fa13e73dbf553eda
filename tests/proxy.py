"""A link between clients and a server that can be cut, and mended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

from tests.ports import HOST, reserved_port


class Proxy:
    """Passes bytes on to `target`, a NATS URL, as long as the link is whole. `url` is the way through it."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._port = reserved_port()
        self._links: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        user, separator, _ = self._target.netloc.rpartition("@")
        return urlunsplit(self._target._replace(netloc=f"{user}{separator}{HOST}:{self._port}"))

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Proxy]:
        await self.mend()
        try:
            yield self
        finally:
            self.cut()

    def cut(self) -> None:
        """End all connections, and let nobody through."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for link in self._links:
            link.transport.abort()

    async def mend(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, HOST, self._port)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._target.hostname, self._target.port)
        self._links |= {writer, back}
        try:
            await asyncio.gather(_pass(reader, back), _pass(there, writer))
        finally:
            self._links -= {writer, back}
            for link in (writer, back):
                link.close()
                with suppress(ConnectionError):
                    await link.wait_closed()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()
