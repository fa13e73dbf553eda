"""What the recorder sets aside is on the log once, whatever crashes and however many recorders there are."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import func, select

from bus.clock import now
from bus.envelope import Entry
from bus.log import Identity
from schemas import tables as t
from schemas.events import DeadLettered
from services.recorder.app import Recorder
from services.recorder.store import Publish, Tables
from services.unusable import DeadLetter
from tests.services.conftest import Engine
from tests.services.execution import COMPLETED, FAILED, HOUSE, PLANNED, REQUESTED, STARTED
from tests.support import sent


async def told(engine: Engine) -> None:
    """Put a run on the log, with messages that are repeated, cannot be used, and cannot be read."""
    story = [*HOUSE, STARTED, PLANNED, REQUESTED, STARTED, FAILED, FAILED, COMPLETED, COMPLETED]
    story += [replace(STARTED, execution_id="y", flow_id="nobody"), replace(FAILED, backup_id="nobody")]
    for n, message in enumerate(story):
        await engine.log.append([sent(message, id=f"m{n}", time=now())], expect={})
    for subject in ("flow.due.flow", "dead.recorder.malformed", "dead.recorder.repeated", "catalog.vm.x"):
        await engine.log._js.publish(subject, b"\x00 nothing \xff")


LETTERS = {"repeated": 3, "unusable": 2, "malformed": 2}


async def letters(engine: Engine) -> list[DeadLettered]:
    return [one for one in await engine.messages("dead.*.*") if isinstance(one, DeadLettered)]


async def expect_each_once(engine: Engine) -> None:
    await engine.recorded()
    found = await letters(engine)
    assert Counter(one.reason for one in found) == LETTERS
    assert len({one.sequence for one in found}) == len(found)
    assert not [one for one in found if one.subject.startswith("dead.")]
    last = (await engine.log.identity()).last_sequence
    assert await engine.rows(select(func.count().label("n")).select_from(t.events)) == [{"n": last}]


def beside(engine: Engine, name: str) -> Engine:
    """Return the same log, with a database of its own."""
    return Engine(engine.server, engine.log, engine.database_url.replace("flows.db", name))


async def test_a_doubled_start_does_not_stop_the_recorder(engine: Engine) -> None:
    async with engine.running(engine.recorder()):
        await told(engine)
        await engine.recorded()
    async with engine.running(engine.recorder()):  # nor when it starts again
        again = replace(STARTED, flow_name="other")
        await engine.log.append([sent(again, id="x", time=now())], expect={})
        await engine.until("dead.recorder.repeated", LETTERS["repeated"] + 1)
        await engine.recorded()
    (execution,) = await engine.rows(select(t.executions))
    assert (execution["flow_name"], execution["status"]) == ("flow-1", "error")
    (flow,) = await engine.rows(select(t.protection_flows))
    assert flow["total_executions"] == 1


async def test_recorders_side_by_side_say_each_once(engine: Engine) -> None:
    others = [beside(engine, f"{n}.db") for n in range(3)]
    async with engine.running(engine.recorder(), *(other.recorder() for other in others)):
        await told(engine)
        await engine.recorded()
        for other in others:
            await other.recorded()
        await expect_each_once(engine)
    late = beside(engine, "late.db")
    async with late.running(late.recorder()):
        await late.recorded()
    await expect_each_once(late)


class Crashing(Tables):
    """A store whose process ends when a dead letter is on the log, before what it is about is committed."""

    async def apply(self, entries: Sequence[Entry], stream: Identity, say: Publish = ...) -> None:  # type: ignore[assignment]
        async def then_end(aside: Sequence[DeadLetter]) -> None:
            await say(aside[:1])
            raise ConnectionError("the process ends here")

        await super().apply(entries, stream, then_end)


async def test_a_recorder_that_ends_before_its_commit_says_each_once(engine: Engine) -> None:
    await told(engine)
    for _ in range(3):
        with pytest.raises(ConnectionError):
            async with engine.running(Recorder(Crashing(engine.database_url))):
                await asyncio.sleep(5)
    assert len(await letters(engine)) == 1
    async with engine.running(engine.recorder()):
        await expect_each_once(engine)


async def test_what_is_set_aside_does_not_depend_on_who_reads_it(engine: Engine) -> None:
    """A database that is rebuilt has the same rows, and says nothing."""
    from services.recorder.comparison import differences
    from services.recorder.rebuild import rebuild

    async with engine.running(engine.recorder()):
        await told(engine)
        await expect_each_once(engine)
        await engine.recorded()
    rebuilt: Any = beside(engine, "rebuilt.db").database_url
    async for _ in rebuild(engine.log, rebuilt):
        pass
    assert [str(one) async for one in differences(engine.database_url, rebuilt)] == []
    assert Counter(one.reason for one in await letters(engine)) == LETTERS
