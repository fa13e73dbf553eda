"""What becomes of a message: a handler decides, and the middleware settles it; an abandoned one is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from nats.aio.msg import Msg
from nats.errors import TimeoutError as NatsTimeout

from bus.connection import connect
from bus.log import Log
from bus.pulling import Pulled
from bus.server import Server
from bus.stream import Queue, consumer_config
from bus.subjects import STREAM
from schemas.events import FlowMissed
from services import consuming
from services.consuming import Ack, Consumer, Delivery, Handler, Nack, Outcome, Turns, _Slot, consume
from tests.servers import root
from tests.support import T0, due, eventually, sent, stored

QUEUE = Queue(name="work", filters=("flow.due.*",), ack_wait=20.0)


class Message:
    """Notes what is sent about it."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    async def ack_sync(self) -> None:
        self.sent.append("ack")

    async def nack(self, delay: float) -> None:
        self.sent.append(delay)

    async def in_progress(self) -> None:
        self.sent.append("in progress")


def delivery(message: Message, sequence: int = 1, *, lease: float = 30.0) -> Delivery:
    given: Any = message
    return Delivery(entry=stored(sent(due("a")), sequence), number=1, message=given, lease=lease)


def returning(outcome: Outcome) -> Handler:
    async def handler(_: Delivery) -> Outcome:
        return outcome

    return handler


async def failing(_: Delivery) -> Outcome:
    raise ValueError("a bug")


async def expire(one: Delivery) -> None:
    one.lease = 0.0
    await eventually(lambda: one.expired)


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (returning(Ack()), ["ack"]),
        (returning(Nack(delay=7.0)), [7.0]),
        (returning(Nack()), [consuming.RETRY_DELAY]),
        (returning(None), []),
        (failing, [consuming.RETRY_DELAY]),
    ],
)
async def test_a_message_is_settled_as_its_handler_says(handler: Handler, expected: list[Any]) -> None:
    message = Message()
    await consume(handler, delivery(message))
    assert message.sent == expected


@pytest.mark.parametrize("handler", [returning(Ack()), returning(Nack()), failing])
async def test_nothing_is_sent_about_an_abandoned_message(handler: Handler) -> None:
    message = Message()
    one = delivery(message)
    one.abandon()
    await consume(handler, one)
    assert message.sent == []


async def test_what_has_expired_is_not_sent_back_as_it_may_be_somebody_elses() -> None:
    message = Message()
    one = delivery(message)
    await expire(one)
    await one.settle(Nack())
    assert message.sent == []
    await one.settle(Ack())  # what is done is done, whoever has it
    assert message.sent == ["ack"]


async def test_a_sign_of_life_begins_the_lease_anew() -> None:
    message = Message()
    one = delivery(message, lease=0.2)
    await eventually(lambda: one.expired)
    await one.extend()
    assert not one.expired
    assert message.sent == ["in progress"]


async def test_a_delivery_that_joins_is_settled_with_the_first_the_newest_of_each_message() -> None:
    first, again, other = Message(), Message(), Message()
    one = delivery(first)
    one.join(delivery(again))
    one.join(delivery(other, sequence=2))
    await one.extend()
    await one.settle(Nack(delay=1.0))
    assert (first.sent, again.sent, other.sent) == ([], ["in progress", 1.0], ["in progress", 1.0])


async def test_a_server_that_does_not_confirm_ends_nothing() -> None:
    class Silent(Message):
        async def ack_sync(self) -> None:
            raise NatsTimeout

    await consume(returning(Ack()), delivery(Silent()))


# --- on a real server ----------------------------------------------------------------------------


@asynccontextmanager
async def consumed(server: Server, log: Log, handler: Handler) -> AsyncIterator[None]:
    client = await connect(root(server), "work")
    await log._js.add_consumer(STREAM, consumer_config(QUEUE))
    consumer = Consumer(client, lambda: [QUEUE], handler, slots=2)
    task = asyncio.create_task(consumer.run())
    try:
        yield
    finally:
        consumer.close()
        await task
        await client.close()


@pytest.mark.server
async def test_a_message_comes_again_after_an_error_and_is_gone_when_it_is_done(
    server: Server, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consuming, "RETRY_DELAY", 0.3)
    seen: list[tuple[int, int, float]] = []

    async def handler(one: Delivery) -> Outcome:
        seen.append((one.entry.sequence, one.number, asyncio.get_running_loop().time()))
        if one.number == 1:
            raise ValueError("a bug")
        return Ack()

    async with consumed(server, log, handler):
        for name in ("a", "b"):
            await log.publish_once(sent(due(name), id=name))

        async def done() -> bool:
            return await log.acknowledged(QUEUE) == 2

        await eventually(done)
    assert sorted((sequence, number) for sequence, number, _ in seen) == [(1, 1), (1, 2), (2, 1), (2, 2)]
    first, second = (at for sequence, _, at in seen if sequence == 1)
    assert second - first > 0.25


@pytest.mark.server
async def test_a_slot_is_free_as_soon_as_another_delivery_has_joined(server: Server, log: Log) -> None:
    held: list[Delivery] = []
    go_on = asyncio.Event()

    async def handler(one: Delivery) -> Outcome:
        if one.entry.subject == "flow.due.work":
            if held:
                held[0].join(one)
                return None
            held.append(one)
            await go_on.wait()
        return Ack()

    async with consumed(server, log, handler):
        await log.publish_once(sent(due("work"), id="first"))
        await eventually(lambda: held)
        for number in range(3):
            await log.publish_once(sent(due("work"), id=f"again-{number}"))
        last = await log.publish_once(sent(due("other"), id="other"))

        async def other_done() -> bool:
            return (await log.queue(QUEUE)).delivered == last

        await eventually(other_done)
        assert await log.acknowledged(QUEUE) == 0
        go_on.set()

        async def all_done() -> bool:
            return await log.acknowledged(QUEUE) == last

        await eventually(all_done)


# --- several queues ---------------------------------------------------------------------------------------------------

OTHER = Queue(name="other", filters=("flow.missed.*",), ack_wait=20.0)
THIRD = Queue(name="third", filters=("flow.overdue.*",), ack_wait=20.0)


def test_free_slots_ask_different_queues_and_each_has_its_turn() -> None:
    turns = Turns()
    with turns.asking(turns.order([QUEUE, OTHER])[0]):
        assert turns.order([QUEUE, OTHER]) == [OTHER, QUEUE]
        with turns.asking(OTHER):
            assert turns.order([QUEUE, OTHER, THIRD])[0] is THIRD
    seen = []
    for _ in range(6):
        first = turns.order([QUEUE, OTHER, THIRD])[0]
        with turns.asking(first):
            seen.append(first.name)
    assert sorted(seen) == ["other", "other", "third", "third", "work", "work"]


class Asked:
    """A puller that notes what it is asked, of queues that hold so many messages."""

    def __init__(self, **held: int) -> None:
        self.held = held
        self.asked: list[tuple[str, bool]] = []

    async def take(self, queue: str, wait: float | None) -> Any:
        self.asked.append((queue, wait is not None))
        if not self.held.get(queue):
            return None
        self.held[queue] -= 1
        return Pulled(raw(queue))


def raw(queue: str) -> Any:
    return Msg(_client=None, subject="x", data=b"{}", reply=f"$JS.ACK.FLOWS.{queue}.1.1.1.1700000000000000000.0")  # type: ignore[arg-type]


async def test_an_idle_slot_asks_no_more_often_for_more_queues() -> None:
    puller: Any = Asked()
    slot = _Slot(puller, Turns(), lambda: [QUEUE, OTHER, THIRD])
    for _ in range(6):
        assert await slot.take() is None
    assert puller.asked == [(name, True) for name in ("work", "other", "third") * 2]


async def test_what_has_much_to_do_is_not_kept_waiting_by_what_has_nothing() -> None:
    puller: Any = Asked(other=3)
    slot = _Slot(puller, Turns(), lambda: [QUEUE, OTHER, THIRD])
    while puller.held["other"]:
        await slot.take()
    waited = [queue for queue, waits in puller.asked if waits]
    assert waited == ["work", "other"], "after its first message it asks all without waiting"


@pytest.mark.server
async def test_with_one_slot_nothing_is_fetched_ahead_from_any_queue(server: Server, log: Log) -> None:
    queues = [QUEUE, OTHER]
    for queue in queues:
        await log._js.add_consumer(STREAM, consumer_config(queue))
    client = await connect(root(server), "work")
    at_work: list[str] = []
    go_on = asyncio.Event()

    async def handler(one: Delivery) -> Outcome:
        at_work.append(one.entry.subject)
        await go_on.wait()
        return Ack()

    consumer = Consumer(client, lambda: queues, handler, slots=1)
    task = asyncio.create_task(consumer.run())
    for number in range(3):
        await log.publish_once(sent(due(f"a{number}"), id=f"due-{number}"))
        missed = FlowMissed(flow_id=f"m{number}", schedule_id="s", first=T0, last=T0, count=1)
        await log.publish_once(sent(missed, id=f"missed-{number}"))
    await eventually(lambda: at_work)
    delivered = [(await log._js.consumer_info(STREAM, queue.name)).num_ack_pending for queue in queues]
    assert sum(one or 0 for one in delivered) == 1
    go_on.set()
    await eventually(lambda: len(at_work) == 6)
    assert sorted(at_work[:4])[:2] == ["flow.due.a0", "flow.due.a1"], "they take turns"
    consumer.close()
    await task
    await client.close()


@pytest.mark.server
async def test_a_queue_that_is_not_there_does_not_keep_the_others_from_work(
    server: Server, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consuming, "PAUSE", 0.1)
    await log._js.add_consumer(STREAM, consumer_config(QUEUE))
    client = await connect(root(server), "work")
    seen: list[int] = []

    async def handler(one: Delivery) -> Outcome:
        seen.append(one.entry.sequence)
        return Ack()

    consumer = Consumer(client, lambda: [OTHER, QUEUE], handler, slots=1)
    task = asyncio.create_task(consumer.run())
    await log.publish_once(sent(due("a"), id="a"))
    await eventually(lambda: seen)
    consumer.close()
    await task
    await client.close()
