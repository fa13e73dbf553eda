"""What the doctor finds on a test's engine, and what repairing it prints."""

from __future__ import annotations

import io

from rich.console import Console

from cli.doctor.checks import examine
from cli.repair import repair
from schemas import commands as c
from schemas.events import FlowStarted
from services import database
from tests.services.conftest import Engine
from tests.services.house import built, house


async def problems(engine: Engine) -> list[str]:
    tables = database.reader(engine.database_url)
    try:
        return [finding.text async for finding in examine(engine.log, tables) if finding.level == "problem"]
    finally:
        await tables.dispose()


async def repaired(engine: Engine, *, sure: bool) -> tuple[bool, str]:
    """Return whether `flows repair` found or made all well, and what it printed."""
    console = Console(file=io.StringIO(), width=300)
    well = await repair(engine.server.url, engine.database_url, console, sure=sure)
    return well, console.file.getvalue()  # type: ignore[attr-defined]


async def ran(engine: Engine) -> FlowStarted:
    """Run one execution, and return its start."""
    await built(engine, house(vms=1))
    await engine.ask(c.ExecuteFlow(id="flow"))
    await engine.until("flow.completed.*")
    (started,) = await engine.messages("flow.started.*")
    return started
