"""The tables against the log: each difference is found, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from bus.clock import now
from schemas import commands as c
from schemas import tables as t
from schemas.definitions import FlowPatch, TokenSpec
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
        (t.tokens, {"version": 7}, "token ci is not in the tables as on the log"),
        (t.projection, {"stream_created": "yesterday"}, "the tables belong to another log"),
    ],
    ids=["totals", "execution", "backup", "token", "stream"],
)
async def test_tables_that_say_otherwise(engine: Engine, table: Any, values: dict[str, Any], said: str) -> None:
    async with engine.running(Registry(), Executor(), Worker(), engine.recorder()):
        token = c.CreateToken(id="ci", spec=TokenSpec(name="ci", role="viewer", digest="0" * 64))
        await built(engine, [*house(vms=1), token])
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


async def test_what_waits_for_its_turn_is_no_difference_unless_its_row_is_missing(engine: Engine) -> None:
    async with engine.running(Registry(), Executor(), Worker(), engine.recorder()):
        buffers = c.UpdateFlow(id="flow", patch=FlowPatch(overlap_policy="buffer_one"))
        await built(engine, [*house(vms=1, config={"seconds": 60}), buffers])
        await engine.ask(c.ExecuteFlow(id="flow"), c.ExecuteFlow(id="flow"))
        (waits,) = await engine.until("flow.buffered.*")
        await engine.until("backup.started.>")
        await engine.recorded()
        assert await problems(engine) == []
        writer = database.writer(engine.database_url)
        async with writer.begin() as connection:
            await connection.execute(delete(t.executions).where(t.executions.c.id == waits.execution_id))
        await writer.dispose()
        assert await problems(engine) == [
            f"execution {waits.execution_id} waits in the tables or on the log, and not in both"
        ]


async def test_without_tables_it_says_so(engine: Engine, tmp_path: Path) -> None:
    engine.database_url = database.sqlite_url(tmp_path / "nowhere.db")
    await engine.log.publish_once(sent(due(), id="x", time=now()))
    found = await problems(engine)
    assert [text for text in found if text.startswith("the tables cannot be read")]
