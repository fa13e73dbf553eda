"""Metrics are counted once for all who ask; names are for those who may see them; rules and dashboard use what is."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event
from sqlalchemy.engine import Engine

from api.app import create_app
from api.auth import Tokens
from bus.server import Server
from bus.setup import declare_at
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
    await declare_at(server.url)
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


MONITORING = Path(__file__).parents[3] / "docs" / "monitoring"
NAME = re.compile(r"\bflows?_[a-z_]+\b")
LABELS = {"flow_id"}  # what looks like a name in an expression, and is none


async def test_names_of_flows_need_a_token(server: Server, tmp_path: Path) -> None:
    await declare_at(server.url)
    url = database.sqlite_url(tmp_path / "flows.db")
    await database.prepare(url)
    app = create_app(nats_url=server.url, database_url=url, tokens=Tokens("t"))
    async with served(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        public = (await client.get("/metrics")).text
        wrong = await client.get("/metrics", headers={"Authorization": "Bearer x"})
        whole = (await client.get("/metrics", headers={"Authorization": "Bearer t"})).text
    assert wrong.status_code == 401
    assert "flow_overdue" not in public
    assert public.split("# HELP flows_occurrences")[0] in whole
    exported = names(whole)
    assert {"flow_overdue", "flows_queue_length", "flows_lateness_seconds_bucket"} <= exported
    for expression in expressions():
        used = set(NAME.findall(expression)) - LABELS
        assert used, expression
        assert used <= exported, expression
    documented = set(
        re.findall(r"^\| `(flows?_\w+)` \|", (MONITORING.parent / "monitoring.md").read_text(), re.MULTILINE)
    )
    assert documented == {re.sub(r"_(bucket|count|sum)$", "", name) for name in exported}


def names(exposition: str) -> set[str]:
    """Every name of a sample, and those of families that have none yet."""
    found: set[str] = set()
    for family in text_string_to_metric_families(exposition):
        if family.name.endswith("_created"):  # the client's own, of every counter
            continue
        suffixes = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("_total",)}.get(family.type, ("",))
        found |= {family.name + suffix for suffix in suffixes}
    return found


def expressions() -> list[str]:
    """Every expression of the rules and the dashboard."""
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
    found = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    return found + [target["expr"] for panel in panels for target in panel["targets"]]
