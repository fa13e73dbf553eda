"""`flows doctor` on a healthy system, and on systems that are broken one way each: it finds that, and nothing else."""

from __future__ import annotations

import asyncio
import io
from datetime import date, timedelta

import pytest
from msgspec.structs import replace
from rich.console import Console

from bus.clock import now
from bus.envelope import Stored
from bus.stream import WORKER_QUEUE
from bus.subjects import STREAM
from cli import dead
from cli.actor import actor
from cli.doctor import folded
from schemas import commands as c
from schemas.definitions import Exclusion, FlowPatch, ScheduleSpec
from services.executor.app import Executor
from services.registry.app import Registry
from services.scheduler.app import Scheduler
from services.worker.app import Worker
from tests.cli.doctor.support import problems, ran, repaired
from tests.services.conftest import Engine
from tests.services.house import built, house
from tests.support import due, eventually, schedule, sent


async def test_a_healthy_system_at_work_and_at_rest(engine: Engine) -> None:
    everything = (Registry(), Scheduler(), Executor(), Worker(), engine.recorder())
    async with engine.running(*everything):
        await built(engine, house(vms=3, config={"seconds": 1}))
        await engine.ask(c.UpdateFlow(id="flow", patch=FlowPatch(max_concurrent_jobs=2)), c.ExecuteFlow(id="flow"))
        await engine.until("backup.started.>")
        await engine.recorded()
        assert await problems(engine) == []
        await engine.until("flow.completed.*")
        assert await problems(engine) == []


async def test_a_part_that_is_missing_is_named(engine: Engine) -> None:
    async with engine.running(Registry(), engine.recorder()):
        await built(engine, house(vms=1))
        schedule = ScheduleSpec(name="s", cron_expression="0 0 1 1 *")
        await engine.ask(
            c.CreateSchedule(id="s", spec=schedule), c.UpdateFlow(id="flow", patch=FlowPatch(schedule_id="s"))
        )
        await engine.until("catalog.flow.*", 2)
        await engine.ask(c.ExecuteFlow(id="flow"))
        (found,) = await problems(engine)
        assert found.startswith("FlowStarted started:")
        async with engine.running(Executor()):
            await engine.until("backup.requested.>")
        (found,) = await problems(engine)
        assert found == "1 backups wait in the queue, and no worker asks for them: is one running?"
        async with engine.running(Executor(), Worker()):
            await engine.until("flow.completed.*")
        assert await problems(engine) == []
    await engine.ask(c.CreateVm(id="new", spec=house(vms=1)[0].spec))  # type: ignore[attr-defined]
    found = await problems(engine)
    assert found[0].endswith("has no outcome: is a registry running?")
    assert found[1].endswith("1 messages behind: is a recorder running?")
    assert len(found) == 2


async def test_an_occurrence_that_nobody_emitted(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    async with engine.running(Registry(), Executor(), engine.recorder()):
        await built(engine, house(vms=1))
        schedule = ScheduleSpec(name="s", cron_expression="* * * * *")
        await engine.ask(
            c.CreateSchedule(id="s", spec=schedule), c.UpdateFlow(id="flow", patch=FlowPatch(schedule_id="s"))
        )
        await engine.until("catalog.flow.*", 2)
        await engine.recorded()
        monkeypatch.setattr(folded, "LATE", -2 * folded.LATE * 6)  # two minutes from now
        (found,) = await problems(engine)
        assert found == "an occurrence or a deadline of flow flow is due, and not on the log: is a scheduler running?"


async def test_a_schedule_that_never_fires(engine: Engine) -> None:
    """From before it was refused, or by somebody else's hand; nobody waits for it but its flows."""
    async with engine.running(Registry(), Scheduler(), Executor(), engine.recorder()):
        await built(engine, house(vms=1))
        never = [Exclusion(name="for ever", first_date=date(2000, 1, 1))]
        for event in (schedule("never", exclusions=never), schedule("unused", exclusions=never)):
            await engine.log.publish_once(sent(event, id=event.id, time=now()))
        await engine.ask(c.UpdateFlow(id="flow", patch=FlowPatch(schedule_id="never")))
        await engine.until("catalog.flow.*", 2)
        await engine.recorded()
        (found,) = await problems(engine)
        assert found.startswith("schedule 'never' (never), which 1 enabled flows are on, will not fire: exclusions: ")
        await engine.ask(c.ExecuteFlow(id="flow"))
        await engine.until("flow.started.*")


async def test_a_backup_that_was_lost_from_the_queue(engine: Engine) -> None:
    async with engine.running(Registry(), Executor(), engine.recorder()):
        await built(engine, house(vms=1))
        await engine.ask(c.ExecuteFlow(id="flow"))
        await engine.until("backup.requested.>")
        subscription = await engine.log._js.pull_subscribe_bind(WORKER_QUEUE.name, STREAM)
        (message,) = await subscription.fetch(1)
        await message.ack_sync()  # by a worker that did nothing
        await engine.recorded()
        (found,) = await problems(engine)
        assert "is no longer in the queue" in found


# --- states made by hand, as an older version, a restored log or a bug would leave them ------------------------------


@pytest.mark.parametrize("subject", ["flow.started", "flow.planned", "flow.completed", "backup.requested"])
async def test_a_decision_that_is_there_twice(engine: Engine, subject: str) -> None:
    async with engine.running(Registry(), Worker(), engine.recorder()):
        async with engine.running(Executor()):
            await ran(engine)
        (first,) = await engine.log.read([f"{subject}.*"])
        assert isinstance(first, Stored)
        await engine.log.append([first.envelope], expect={})  # not within the memory for duplicates: it has no id there
        letters = await engine.until("dead.recorder.repeated")
        await engine.recorded()
        found = await problems(engine)
        assert len(found) == 1
        assert f"(message {first.sequence:,})" in found[0]
        well, said = await repaired(engine, sure=False)
        assert not well
        assert f"remedy: note that nothing is to be done about message {letters[0].sequence:,}" in said
        assert "flows repair --yes" in said
        assert await engine.messages("dead.settled.*") == []
        well, said = await repaired(engine, sure=True)
        assert (well, said.splitlines()[-1]) == (True, "Everything is repaired.")
        (entry,) = await engine.log.read(["dead.settled.*"])
        assert isinstance(entry, Stored)
        assert entry.envelope.actor == actor()
        assert await problems(engine) == []
        assert await repaired(engine, sure=True) == (True, "There is nothing to repair.\n")


async def test_dead_letters_are_a_problem_until_they_are_settled(engine: Engine) -> None:
    async with engine.running(Registry(), Executor(), Worker(), engine.recorder()):
        await ran(engine)
        await engine.log._js.publish("flow.due.flow", b"{ nothing")
        (letter,) = await engine.until("dead.recorder.malformed")
        await engine.recorded()
        (found,) = await problems(engine)
        assert f"message {letter.sequence:,} on flow.due.flow could not be used by the recorder (malformed)" in found
        await dead.dismiss(engine.server.url, letter.sequence)
        assert await problems(engine) == []


async def test_dismissing_a_message_that_is_gone_satisfies_the_doctor(engine: Engine) -> None:
    """A dead letter outlives the message that it is about: the log keeps progress for a day alone."""
    async with engine.running(Registry(), Executor(), Worker(), engine.recorder()):
        await ran(engine)
        sequence = (await engine.log._js.publish("backup.progressed.flow", b"{ nothing")).seq
        await engine.until("dead.recorder.malformed")
        await engine.log._js.delete_msg(STREAM, sequence)
        await engine.recorded()
        (found,) = await problems(engine)
        assert found.startswith(f"message {sequence:,} on backup.progressed.flow could not be used")
        await dead.dismiss(engine.server.url, sequence)
        assert await problems(engine) == []


async def _listed(engine: Engine) -> str:
    printed = io.StringIO()
    await dead.show(engine.server.url, Console(file=printed, width=300))
    return printed.getvalue()


async def test_dismissing_whatever_message_the_doctor_names_satisfies_him(engine: Engine) -> None:
    """What repeats an occurrence changes no row, so it is no dead letter; it had been found, and not dismissed."""
    async with engine.running(Registry(), Executor(), Worker(), engine.recorder()):
        await ran(engine)
        at = now()
        for _ in range(2):
            await engine.log.append([sent(due("flow", at), id=f"due:flow:{at}", time=at)], expect={})
        await engine.until("flow.due.flow", 2)
        await engine.until("flow.completed.flow", 2)
        await engine.recorded()
        (found,) = await problems(engine)
        sequence = await engine.log.last_sequence("flow.due.flow")
        assert found.startswith(f"message {sequence:,} says again that decision due:flow:")
        assert "every message could be used" in await _listed(engine)
        await dead.dismiss(engine.server.url, sequence)
        assert await problems(engine) == []
        with pytest.raises(ValueError, match="there is nothing to dismiss"):
            await dead.dismiss(engine.server.url, sequence)


async def test_a_lost_backup_is_requested_anew(engine: Engine) -> None:
    async with engine.running(Registry(), Executor(), engine.recorder()):
        await built(engine, house(vms=1))
        await engine.ask(c.ExecuteFlow(id="flow"))
        (request,) = await engine.until("backup.requested.>")
        subscription = await engine.log._js.pull_subscribe_bind(WORKER_QUEUE.name, STREAM)
        (message,) = await subscription.fetch(1)
        await message.ack_sync()  # by a worker that did nothing
        await engine.recorded()
        _, said = await repaired(engine, sure=False)
        assert f"remedy: have backup {request.backup_id} requested anew" in said
        assert await engine.messages("backup.abandoned.>") == []
        both = await asyncio.gather(repaired(engine, sure=True), repaired(engine, sure=True))
        assert sum("done already, by somebody else" in said for _, said in both) <= 1
        (abandoned,) = await engine.messages("backup.abandoned.>")
        assert (abandoned.backup_id, abandoned.request) == (request.backup_id, message.metadata.sequence.stream)


@pytest.mark.parametrize("holding", [True, False])
async def test_a_request_that_was_delivered_and_nobody_holds(
    engine: Engine, holding: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above what the queue has acknowledged: the workers' own word is what tells."""
    monkeypatch.setattr(folded, "GRACE", timedelta())
    async with engine.running(Registry(), Executor(), engine.recorder()):
        await built(engine, house(vms=1))
        await engine.ask(c.ExecuteFlow(id="flow"))
        (request,) = await engine.until("backup.requested.>")
        subscription = await engine.log._js.pull_subscribe_bind(WORKER_QUEUE.name, STREAM)
        await subscription.fetch(1)
        await engine.log.put_status("worker.w", {"slots": 2, "holding": [request.backup_id] if holding else []})
        waiting = asyncio.create_task(subscription.fetch(1, timeout=30))  # a free slot

        async def asked() -> bool:
            return (await engine.log.queue(WORKER_QUEUE)).listeners > 0

        await eventually(asked)
        await engine.recorded()
        found = await problems(engine)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    expected = [] if holding else [f"backup {request.backup_id} has no end, and its request"]
    assert [text[: len(start)] for text, start in zip(found, expected, strict=True)] == expected


@pytest.mark.parametrize("late", [True, False])
async def test_a_disabled_flow_that_was_fired(engine: Engine, late: bool) -> None:
    async with engine.running(Registry(), engine.recorder()):
        async with engine.running(Executor(), Worker()):
            started = await ran(engine)
        await engine.ask(c.DisableFlow(id="flow"))
        await engine.until("catalog.flow.*", 2)
        at = now() + timedelta(hours=1 if late else -1)  # an occurrence of before it was disabled is due
        fired = replace(started, execution_id="fired", execution_type="scheduled", occurrence=at, jobs=0, parts=1)
        ended = replace((await engine.messages("flow.completed.*"))[0], execution_id="fired")
        events = [
            sent(fired, id="started:fired", time=now(), decidedon=7),
            sent(ended, id="completed:fired", time=now()),
        ]
        await engine.log.append(events, expect={})
        await engine.recorded()
        found = await problems(engine)
        if not late:
            assert found == []
            return
        (text,) = found
        assert "execution fired (message" in text
        assert "decided on message 7) began by schedule" in text
        assert "flow flow had been disabled or deleted before" in text
        assert (await repaired(engine, sure=True))[0]
