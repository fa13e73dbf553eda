"""The command client on a real log, with the tables where the test wants them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from nats.aio.client import Client

from api.commands import CommandClient, KeyReused, Recorded
from api.listener import Listener
from api.requests import PolicyRequest
from api.tail import CommandOutcome, Tail
from bus.appending import Guards
from bus.envelope import Envelope, Stored
from bus.errors import Unknown
from bus.log import Log
from bus.tasks import cancel_and_wait
from schemas.commands import CreatePolicy, ExecuteFlow
from schemas.definitions import PolicySpec
from schemas.events import FlowSkipped
from schemas.ids import manual_execution_id
from tests.support import T0, eventually, sent

RUN = ExecuteFlow(id="f")


class Tables:
    """Tables that hold the log up to where they were last brought."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.tail = Tail(most=None)

    async def catch_up(self) -> None:
        end = (await self.log.identity()).last_sequence
        self.tail.take(await self.log.read([">"], after=self.tail.position, until=end), end)

    async def __call__(self, command_id: str) -> Recorded:
        tail = self.tail
        return Recorded(position=tail.position, sequence=tail.command(command_id), outcome=tail.outcome(command_id))


class Counting(Log):
    """Counts what is asked of the server."""

    calls: list[str]

    async def append(self, events: Sequence[Envelope], *, expect: Guards) -> int:
        self.calls.append("append")
        return await super().append(events, expect=expect)

    async def publish_once(self, event: Envelope) -> int:
        self.calls.append("ask")
        return await super().publish_once(event)

    async def last_sequence(self, subject: str) -> int:
        self.calls.append("last_sequence")
        return await super().last_sequence(subject)

    async def read(self, subjects: Sequence[str], *, after: int = 0, until: int | None = None) -> Any:
        self.calls.append("read")
        return await super().read(subjects, after=after, until=until)


class Unanswered(Log):
    """The server's word on the first appends is lost: `kept` says of each whether it was appended."""

    kept: list[bool]

    async def append(self, events: Sequence[Envelope], *, expect: Guards) -> int:
        if not self.kept:
            return await super().append(events, expect=expect)
        if self.kept.pop(0):
            await super().append(events, expect=expect)
        raise Unknown("no answer")


class Process:
    """An API process: a command client, and the listener that feeds it unless it is paused."""

    def __init__(self, log: Log, tables: Tables, *, since: int = 0) -> None:
        self.client = CommandClient(log, tables, lambda: T0, since=since)
        self._log, self._since = log, since

    @asynccontextmanager
    async def running(self) -> AsyncIterator[CommandClient]:
        listening = asyncio.Event()
        task = asyncio.create_task(Listener(self._log, [self.client.hear], after=self._since).run(listening))
        await listening.wait()
        try:
            yield self.client
        finally:
            await cancel_and_wait(task)


async def refuse(log: Log, id: str = "k") -> None:
    """Answer a command, as an executor does."""
    no = FlowSkipped(
        flow_id="f",
        execution_id=manual_execution_id(id),
        execution_type="manual",
        occurrence=None,
        reason="overlap",
        message="it runs",
    )
    await log.append([sent(no, id=f"answer-{id}", causationid=id)], expect={})


async def submit(
    client: CommandClient, command: Any = RUN, *, id: str = "k", patience: float = 0.0
) -> CommandOutcome | None:
    return await client.submit(command, id=id, actor="admin", keyed=True, patience=patience)


async def on_the_log(log: Log) -> list[str]:
    return [one.envelope.id for one in await log.read(["command.*.*"]) if isinstance(one, Stored)]


async def test_one_effect_wherever_the_tables_are(log: Log) -> None:
    tables = Tables(log)
    async with Process(log, tables).running() as client:
        assert await submit(client) is None
        assert await submit(client) is None  # in the tail, without an outcome
        await refuse(log)
        outcome = await submit(client, patience=5)
        assert outcome is not None
        assert (outcome.accepted, outcome.code, outcome.reason) == (False, "overlap", "it runs")
        await tables.catch_up()
        assert await submit(client) == outcome
    assert await on_the_log(log) == ["k"]


async def test_the_tables_have_the_command_and_the_tail_its_outcome(log: Log) -> None:
    tables = Tables(log)
    async with Process(log, tables).running() as client:
        await submit(client)
        await tables.catch_up()
    await refuse(log)
    end = (await log.identity()).last_sequence
    for since in (1, end):  # in the tail, and in what lies between the tables and a tail that begins later
        async with Process(log, tables, since=since).running() as client:
            outcome = await submit(client, patience=5)
            assert outcome is not None
            assert outcome.code == "overlap"
    assert await on_the_log(log) == ["k"]


async def test_a_process_that_begins_later_reads_what_the_tables_lack(log: Log) -> None:
    tables = Tables(log)
    async with Process(log, tables).running() as client:
        await submit(client)
    await refuse(log)
    async with Process(log, tables, since=(await log.identity()).last_sequence).running() as client:
        outcome = await submit(client, patience=5)
        assert outcome is not None
        with pytest.raises(KeyReused):
            await submit(client, ExecuteFlow(id="g"))
    assert await on_the_log(log) == ["k"]


async def test_what_the_tail_let_go_of_is_read_again(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.tail.REMEMBERED", 2)
    monkeypatch.setattr(Tail.__init__, "__kwdefaults__", {"most": 2})
    async with Process(log, Tables(log)).running() as client:
        for number in range(6):
            await submit(client, id=f"k{number}")
        for number in range(6):
            await submit(client, id=f"k{number}")
    assert await on_the_log(log) == [f"k{number}" for number in range(6)]


@pytest.mark.parametrize("kept", [[True], [False], [True, True], [False, False, True]])
async def test_an_append_without_an_answer_is_read_back(client: Client, log: Log, kept: list[bool]) -> None:
    unanswered = Unanswered(client)
    unanswered.kept = kept
    async with Process(unanswered, Tables(log)).running() as commands:
        await submit(commands)
        await submit(commands)
    assert await on_the_log(log) == ["k"]


async def test_a_paused_process_appends_nothing_again(log: Log) -> None:
    """It looked before the pause and appends after it, when another process has done so."""
    tables = Tables(log)
    looked, resumed = asyncio.Event(), asyncio.Event()

    async def slow(command_id: str) -> Recorded:
        recorded = await tables(command_id)
        if not looked.is_set():
            looked.set()
            await resumed.wait()
        return recorded

    late = Process(log, slow)  # type: ignore[arg-type]
    async with Process(log, tables).running() as first, late.running() as client:
        # both know the subject: the guard of the late one is what it has heard
        await submit(first, id="before")
        waiting = asyncio.create_task(submit(client, patience=5))
        await looked.wait()
        await submit(first)
        await submit(first, id="after")
        await refuse(log)
        resumed.set()
        outcome = await waiting
    assert outcome is not None
    assert await on_the_log(log) == ["before", "k", "after"]


async def test_many_at_once_in_two_processes(client: Client, log: Log) -> None:
    tables = Tables(log)
    async with Process(log, tables).running() as one, Process(Log(client), tables).running() as two:
        tasks = [submit(who, id=f"k{number}") for number in range(20) for who in (one, two) for _ in range(2)]
        unkeyed = [one.submit(RUN, id=f"u{number}", actor="admin", keyed=False, patience=0) for number in range(20)]
        await asyncio.gather(*tasks, *unkeyed)
    found = await on_the_log(log)
    assert len(found) == len(set(found)) == 40


async def test_a_keyed_command_gets_through_while_others_never_pause(client: Client, log: Log) -> None:
    busy = True

    async def others(who: CommandClient, name: str) -> None:
        number = 0
        while busy:
            await who.submit(RUN, id=f"{name}-{number}", actor="admin", keyed=False, patience=0)
            number += 1

    tables = Tables(log)
    async with Process(log, tables).running() as one, Process(Log(client), tables).running() as two:
        crowd = [asyncio.create_task(others(who, f"{who is one}{n}")) for who in (one, two) for n in range(8)]
        for number in range(10):
            await submit(one, id=f"k{number}")
        busy = False
        await asyncio.gather(*crowd)
    assert sum(id_.startswith("k") for id_ in await on_the_log(log)) == 10


async def test_a_command_without_a_key_costs_one_question(client: Client, log: Log) -> None:
    counting = Counting(client)
    counting.calls = []
    async with Process(counting, Tables(log)).running() as commands:
        for number in range(3):
            await commands.submit(RUN, id=f"u{number}", actor="admin", keyed=False, patience=0)
        assert counting.calls == ["ask"] * 3
        await eventually(lambda: commands._tail.last("command.flow.execute") == 3)
        await submit(commands)  # a keyed one too, when its subject was heard of
        assert counting.calls[3:] == ["append"]


async def test_shapes_of_requests_are_the_logs(log: Log) -> None:
    """A request's shape forbids more than the log's, and is the same request."""
    asked = CreatePolicy(id="p", spec=PolicyRequest(name="p", keep_last=2))
    async with Process(log, Tables(log)).running() as client:
        await submit(client, asked)
        await submit(client, CreatePolicy(id="p", spec=PolicySpec(name="p", keep_last=2)))
        with pytest.raises(KeyReused):
            await submit(client, CreatePolicy(id="p", spec=PolicySpec(name="p", keep_last=3)))


async def test_closing_lets_nobody_wait(log: Log) -> None:
    async with Process(log, Tables(log)).running() as client:
        waiting = asyncio.create_task(submit(client, patience=60))
        await eventually(lambda: client._waiting)
        client.close()
        assert await waiting is None
