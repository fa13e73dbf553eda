"""What becomes of a message: a handler decides, and the middleware settles it; an abandoned one is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from nats.errors import TimeoutError as NatsTimeout

from bus.connection import connect
from bus.log import Log
from bus.server import Server
from bus.stream import Queue, consumer_config
from bus.subjects import STREAM
from services import consuming
from services.consuming import Ack, Consumer, Delivery, Handler, Nack, Outcome, consume
from tests.support import due, eventually, sent, stored

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
    client = await connect(server.url, "work")
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
