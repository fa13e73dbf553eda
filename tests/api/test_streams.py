"""Live streams are bounded in number, in all and for one address, and give their places back however they end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.auth import Tokens
from api.problems import ApiError
from api.streams import Streams, counted
from bus.server import Server
from bus.setup import declare_at
from services import database
from tests.served import connected, served
from tests.support import eventually


def test_one_address_does_not_get_all_the_places() -> None:
    streams = Streams(total=3, per_address=2)
    with streams.opened("a"), streams.opened("a"):
        with pytest.raises(ApiError) as caught, streams.opened("a"):
            pass
        assert (caught.value.status, caught.value.headers) == (429, {"Retry-After": "10"})
        with streams.opened("b"):
            with pytest.raises(ApiError) as caught, streams.opened("c"):
                pass
            assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "10"})
        with streams.opened("c"):
            pass
    with streams.opened("a"), streams.opened("a"):
        pass


async def test_a_place_is_given_back_whatever_happens() -> None:
    streams = Streams(total=1, per_address=1)

    async def failing(*_: Any) -> None:
        raise RuntimeError

    scope: Any = {"client": None, "litestar_app": SimpleNamespace(state=SimpleNamespace(streams=streams))}
    nothing: Any = None
    for _ in range(2):
        with pytest.raises(RuntimeError):
            await counted(failing)(scope, nothing, nothing)


async def test_over_http(server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await declare_at(server.url)
    url = database.sqlite_url(tmp_path / "flows.db")
    await database.prepare(url)
    app = create_app(nats_url=server.url, database_url=url, tokens=Tokens("t"), most_streams=4)
    request = b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n\r\n"
    headers = {"Authorization": "Bearer t"}
    async with served(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
        async with connected(port) as (reader, writer), connected(port) as (other, another):
            for one, out in ((reader, writer), (other, another)):
                out.write(request)
                async with asyncio.timeout(30):
                    await one.readuntil(b": connected")
            refused = await client.get("/api/v1/events")
            assert refused.status_code == 429
            assert refused.headers["retry-after"] == "10"
            assert refused.json()["detail"].startswith("2 live streams from 127.0.0.1 are open")
            assert (await client.get("/api/v1/policies")).status_code == 200
        await eventually(lambda: _opens(client))
    (line,) = [one for one in caplog.records if one.name == "api.refusals"]
    assert (line.status, line.route) == (429, "GET /api/v1/events")  # type: ignore[attr-defined]


async def _opens(client: httpx.AsyncClient) -> bool:
    async with client.stream("GET", "/api/v1/events") as response:
        return response.status_code == 200
