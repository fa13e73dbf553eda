"""The tables against the log: each difference is found, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from bus.clock import now
from schemas import commands as c
from schemas import tables as t
from services import database
from services.executor.app import Executor
from services.registry.app import Registry
from services.worker.app import Worker
from tests.cli.doctor.support import problems
from tests.services.conftest import Engine
from tests.services.house import built, house
from tests.support import due, sent


@pytest.mark.parametrize(
    ("table", "values", "said"),
    [
        (t.protection_flows, {"total_executions": 7}, "the totals of flow 'flow' differ from a recount"),
        (t.executions, {"completed_at": None}, "runs in the tables or on the log, and not in both"),
        (t.backup_jobs, {"status": "running"}, "runs in the tables or on the log, and not in both"),
        (t.projection, {"stream_created": "yesterday"}, "the tables belong to another log"),
    ],
    ids=["totals", "execution", "backup", "stream"],
)
async def test_tables_that_say_otherwise(engine: Engine, table: Any, values: dict[str, Any], said: str) -> None:
    async with engine.running(Registry(), Executor(), Worker(), engine.recorder()):
        await built(engine, house(vms=1))
        await engine.ask(c.ExecuteFlow(id="flow"))
        await engine.until("flow.completed.*")
        await engine.recorded()
    writer = database.writer(engine.database_url)
    async with writer.begin() as connection:
        await connection.execute(update(table).values(values))
    await writer.dispose()
    found = await problems(engine)
    assert len(found) == 1
    assert said in found[0]


async def test_without_tables_it_says_so(engine: Engine, tmp_path: Path) -> None:
    engine.database_url = database.sqlite_url(tmp_path / "nowhere.db")
    await engine.log.publish_once(sent(due(), id="x", time=now()))
    found = await problems(engine)
    assert [text for text in found if text.startswith("the tables cannot be read")]
