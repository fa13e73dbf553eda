"""Metrics are counted once for all who ask, however many: nobody can keep the database busy by asking."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from api.app import create_app
from api.auth import Tokens
from bus.server import Server
from services import database
from tests.served import served


@pytest.fixture
def counts() -> Any:
    """The statements that count whole tables, as they are executed."""
    found: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        if "GROUP BY" in statement:
            found.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield found
    event.remove(Engine, "before_cursor_execute", note)


async def test_a_crowd_of_scrapers_counts_once(server: Server, tmp_path: Path, counts: list[str]) -> None:
    url = database.sqlite_url(tmp_path / "flows.db")
    await database.prepare(url)
    app = create_app(nats_url=server.url, database_url=url, tokens=Tokens("t"))
    async with served(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        found = await asyncio.gather(*(client.get("/metrics") for _ in range(60)))
        assert {one.status_code for one in found} == {200}
        assert len({one.text for one in found}) == 1
        assert "flows_projection_lag_messages 0.0" in found[0].text
        assert found[0].headers["content-type"].startswith("text/plain")
        assert len(counts) == len(set(counts)) == 5
