"""Requests that nobody holds and nobody will get: given what is looked at, when, then what is abandoned."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from msgspec import structs

from bus.checkpoint import Status
from bus.clock import now
from bus.log import QueueState
from bus.stream import WORKER_QUEUE
from bus.subjects import STREAM, guard_of, id_of
from bus.tasks import cancel_and_wait
from schemas import commands as c
from services.executor import app as executor_app
from services.executor import deliveries
from services.executor.app import Executor
from services.executor.deliveries import Missing, Outstanding, abandonment, check
from services.executor.watch import watch
from services.health import expired
from services.registry.app import Registry
from services.worker.app import Worker
from services.worker.domain import Attempt
from services.worker.status import held, key_of, silent_in
from tests.services.conftest import Engine
from tests.services.house import built, house
from tests.services.worker.support import LEASE, Gate, Observed, claim, lease, request, say, started
from tests.support import T0, eventually, sent

__all__ = ["lease"]

WAIT = 30.0
ABANDONED = WAIT + deliveries.MARGIN


def outstanding(backup: str = "b", request: int = 10, delay: float = 0.0) -> Outstanding:
    return Outstanding(flow_id="f", execution_id="e", backup_id=backup, context_id="v", request=request, delay=delay)


def queue(*, delivered: int = 100, listeners: int = 1) -> QueueState:
    return QueueState(acknowledged=0, delivered=delivered, pending=0, listeners=listeners)


def looks(*times: float, one: Outstanding | None = None, **given: Any) -> list[str]:
    """Return what is abandoned at the last of some looks."""
    missing: Missing = {}
    abandoned: list[Outstanding] = []
    for at in times:
        missing, abandoned = check(
            [one or outstanding()],
            {None: given.get("queue", queue())},
            given.get("held", ()),
            missing,
            now=at,
            ack_wait=WAIT,
        )
    return [each.backup_id for each in abandoned]


def test_what_is_missing_for_longer_than_any_delivery_takes_is_abandoned() -> None:
    assert looks(0, ABANDONED) == []
    assert looks(0, 20, ABANDONED + 1) == ["b"]


def test_at_the_first_look_nothing_is_abandoned() -> None:
    assert looks(10_000) == []


def test_a_delay_before_the_next_attempt_is_waited_for() -> None:
    assert looks(0, ABANDONED + 60, one=outstanding(delay=60)) == []
    assert looks(0, ABANDONED + 61, one=outstanding(delay=60)) == ["b"]


def test_what_a_live_worker_holds_is_not_missing() -> None:
    assert looks(0, ABANDONED + 1, held={"b"}) == []


def test_what_has_never_been_delivered_waits_for_a_slot() -> None:
    assert looks(0, ABANDONED + 1, queue=queue(delivered=9)) == []
    assert looks(0, ABANDONED + 1, queue=queue(delivered=10)) == ["b"]


def test_while_no_slot_asks_nothing_is_missing() -> None:
    assert looks(0, ABANDONED + 1, queue=queue(listeners=0)) == []


@pytest.mark.parametrize(
    "between", [{"queues": {None: queue(listeners=0)}}, {"held": {"b"}}, {"queues": {None: queue(delivered=9)}}]
)
def test_it_counts_anew_after_any_look_at_which_it_was_not_missing(between: dict[str, Any]) -> None:
    missing, _ = check([outstanding()], {None: queue()}, (), {}, now=0, ack_wait=WAIT)
    missing, _ = check(
        [outstanding()], **{"queues": {None: queue()}, "held": (), **between}, missing=missing, now=5, ack_wait=WAIT
    )
    missing, abandoned = check([outstanding()], {None: queue()}, (), missing, now=ABANDONED + 1, ack_wait=WAIT)
    assert abandoned == []
    assert missing == {("b", 10): ABANDONED + 1}


def test_who_listens_for_other_workers_says_nothing_about_these() -> None:
    one = structs.replace(outstanding(), pool="p", worker_labels={"site": "a"})
    for queues in ({None: queue()}, {None: queue(), "p": queue(listeners=0)}, {None: queue(), "p": queue(delivered=9)}):
        assert check([one], queues, (), {("b", 10): 0.0}, now=ABANDONED + 1, ack_wait=WAIT) == ({}, [])
    _, abandoned = check([one], {"p": queue()}, (), {("b", 10): 0.0}, now=ABANDONED + 1, ack_wait=WAIT)
    assert abandoned == [one]


def test_a_new_request_of_the_same_backup_counts_anew() -> None:
    missing, _ = check([outstanding()], {None: queue()}, (), {}, now=0, ack_wait=WAIT)
    missing, abandoned = check(
        [outstanding(request=11)], {None: queue()}, (), missing, now=ABANDONED + 1, ack_wait=WAIT
    )
    assert (dict(missing), abandoned) == ({("b", 11): ABANDONED + 1}, [])


# --- notes ------------------------------------------------------------------------------------------------------------


def note(age: float, *holding: str, position: int = 50) -> Status:
    return Status(value=claim(*holding, position=position), at=T0 - timedelta(seconds=age))


def attempt(sequence: int = 40) -> Attempt:
    return Attempt(number=1, worker="w", sequence=sequence)


def test_who_is_silent_for_longer_than_the_lease_holds_nothing() -> None:
    notes = {"worker.a": note(29, "x"), "worker.b": note(31, "y"), "worker.c": Status(value={"odd": 1}, at=T0)}
    assert held(notes, now=T0, lease=30) == {"x"}
    assert expired(notes, now=T0, keep=30) == ["worker.b"]


def test_an_attempt_is_its_workers_until_that_is_silent_or_says_otherwise() -> None:
    assert silent_in(attempt(), "x", note(10, "x"), now=T0, lease=30) == 20
    assert silent_in(attempt(), "x", note(31, "x"), now=T0, lease=30) < 0
    assert silent_in(attempt(), "x", None, now=T0, lease=30) == 0
    assert silent_in(attempt(40), "x", note(10, "y", position=40), now=T0, lease=30) == 0
    # the note is older than the attempt: it says nothing of it
    assert silent_in(attempt(40), "x", note(10, "y", position=39), now=T0, lease=30) == 20


def test_a_workers_name_makes_a_key_whatever_is_in_it() -> None:
    assert key_of("host.example-1") == "worker.host.example-1"
    assert key_of("a b:ü") == "worker.a_b__"


# --- the watch, on a real server --------------------------------------------------------------------------------------


class Book:
    """What an executor knows of requests, as far as this test needs it: it requests anew what is abandoned."""

    def __init__(self, engine: Engine, sequence: int) -> None:
        self.engine = engine
        self.open = {sequence}
        self.said: list[str] = []

    def unfinished(self) -> list[Outstanding]:
        return [outstanding("backup-1", sequence) for sequence in self.open]

    async def abandon(self, one: Outstanding) -> bool:
        event = abandonment(one)
        guard = guard_of(event)
        assert guard == "backup.abandoned.f.v"
        self.said.append(id_of(event))
        await self.engine.log.append([sent(event, id=id_of(event), time=now())], expect={guard: 0})
        self.open = {await say(self.engine.log, request(round=2))}
        return True


async def test_a_request_that_somebody_else_acknowledged_is_found_and_made_anew(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker died, and a late acknowledgement of another worker took its message off the queue."""
    monkeypatch.setattr(deliveries, "MARGIN", 1.0)
    gate = Gate()
    gate.open.set()
    sequence = await say(engine.log, request())
    subscription = await engine.log._js.pull_subscribe_bind(WORKER_QUEUE.name, STREAM)
    (message,) = await subscription.fetch(1)
    await say(engine.log, started(1, "dead"))
    await message.ack_sync()
    book = Book(engine, sequence)
    guard = asyncio.create_task(watch(engine.log, book.unfinished, book.abandon, ack_wait=LEASE, every=0.3))
    async with engine.running(Observed(engines={"simulated": gate}, worker_id="one")):
        (done,) = await engine.until("backup.completed.>")
        assert not guard.done()
        await cancel_and_wait(guard)
    assert done.attempt == 2
    (abandoned,) = await engine.messages("backup.abandoned.>")
    assert (abandoned.backup_id, abandoned.request) == ("backup-1", sequence)
    assert book.said == [id_of(abandoned)]


async def test_what_is_being_worked_on_is_not_abandoned(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "MARGIN", 0.5)
    gate = Gate()
    sequence = await say(engine.log, request())
    book = Book(engine, sequence)
    async with engine.running(Observed(engines={"simulated": gate}, worker_id="one", slots=2)):
        await eventually(lambda: gate.begun)
        guard = asyncio.create_task(watch(engine.log, book.unfinished, book.abandon, ack_wait=LEASE, every=0.2))
        began = asyncio.get_running_loop().time()
        await eventually(lambda: asyncio.get_running_loop().time() > began + LEASE + 2)
        assert not guard.done()
        await cancel_and_wait(guard)
        gate.open.set()
        await engine.until("backup.completed.>")
    assert book.said == []


async def test_executors_ask_anew_for_what_was_lost_from_the_queue(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two executors, and a request whose message somebody took off the queue: asked for again once, and done once."""
    with monkeypatch.context() as patch:
        patch.setattr(deliveries, "MARGIN", 0.5)
        patch.setattr(executor_app, "watch", partial(watch, ack_wait=1.0, every=0.2))
        async with engine.running(Registry(), Executor(), Executor()):
            await built(engine, house(vms=1))
            await engine.ask(c.ExecuteFlow(id="flow"))
            (lost,) = await engine.until("backup.requested.>")
            subscription = await engine.log._js.pull_subscribe_bind(WORKER_QUEUE.name, STREAM)
            (message,) = await subscription.fetch(1)
            await message.ack_sync()
            # the only slot that asks: once it has the second request none does, and nothing is missing any more
            (message,) = await subscription.fetch(1, timeout=20)
            await message.nak()
    async with engine.running(Executor(), Executor(), Worker(worker_id="one")):
        await engine.until("flow.completed.*")
    (abandoned,) = await engine.messages("backup.abandoned.>")
    assert abandoned.backup_id == lost.backup_id
    again = (await engine.messages("backup.requested.>"))[1:]
    assert [(one.backup_id, one.round, one.requested_at) for one in again] == [(lost.backup_id, 2, lost.requested_at)]
    assert len(await engine.messages("backup.completed.>")) == 1
