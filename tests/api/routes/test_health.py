"""Readiness, while tables are of another version than the API."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from api.app import create_app
from api.auth import Tokens
from bus.server import Server
from services import database
from services.hosting import host_all
from services.recorder.app import Recorder
from services.recorder.store import Tables
from services.setup.app import Setup
from tests.served import served
from tests.support import eventually


async def move(url: str, revision: str) -> None:
    engine = database.writer(url)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": revision})
    await engine.dispose()


@pytest.mark.parametrize(
    ("revision", "status", "said"),
    [
        ("0001", 503, "its tables are at revision 0001, and this version needs"),
        ("9999", 200, "its tables are at revision 9999, and this version knows up to"),
    ],
)
async def test_an_api_says_that_the_tables_are_of_another_version(
    server: Server, tmp_path: Path, revision: str, status: int, said: str
) -> None:
    """It needs all that it reads; what a newer version has added does not disturb it until its turn comes."""
    url = database.sqlite_url(tmp_path / "flows.db")
    stop = asyncio.Event()
    recording = asyncio.create_task(host_all([Setup(), Recorder(Tables(url))], server.url, stop))
    app = create_app(nats_url=server.url, database_url=url, tokens=Tokens("t"))
    async with served(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:

        async def ready() -> httpx.Response:
            return await client.get("/health/ready")

        async def well() -> bool:
            return (await ready()).status_code == 200

        await eventually(well)
        assert (await ready()).json()["parts"]["database"] == "ok"
        assert (await ready()).json()["version"] == version("protection-flows-engine")
        await move(url, revision)
        found = await ready()
        assert (found.status_code, found.json()["parts"]["recorder"]) == (status, "ok")
        assert said in found.json()["parts"]["database"]
    stop.set()
    await recording
