"""Messages to a real receiver over a real log: in order, one at a time, each once in the normal case."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import os
import signal
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from schemas import tables as t
from schemas.events import (
    NotificationClaimed,
    NotificationDelivered,
    NotificationDropped,
    NotificationDue,
    NotificationFailed,
)
from tests.services.conftest import Engine
from tests.services.notifier.conftest import SECRET
from tests.services.notifier.receiver import OK, Call, Receiver, reply
from tests.services.notifier.stage import PATIENT, ended, hosted, put, quick, rule
from tests.support import eventually, flow

DELIVERED = "notification.delivered.*"


async def test_a_failed_execution_is_told(engine: Engine, receiver: Receiver) -> None:
    await put(engine.log, flow(name="nightly"), rule(name="ops", url=receiver.url))
    async with engine.running(quick()):
        await put(engine.log, ended("x-1", jobs_created=40, jobs_completed=37, jobs_failed=3), ended("x-2", "success"))
        await engine.until(DELIVERED)
    (call,) = receiver.calls
    said = call.said
    assert said["data"]["title"] == "Flow 'nightly' failed: 3 of 40 VMs"
    assert (said["specversion"], said["type"], said["subject"]) == ("1.0", "flow.completed", "flow-1")
    assert said["id"] == call.delivery
    assert said["data"]["link"] == "/api/v1/executions/x-1"
    assert said["data"]["notification"] == {"id": "rule-1", "name": "ops"}
    assert said["data"]["events"][0]["jobs_failed"] == 3
    key, stamp = SECRET.encode(), call.headers["flows-timestamp"]
    wanted = hmac.new(key, stamp.encode() + b"." + call.body, hashlib.sha256).hexdigest()
    assert call.headers["flows-signature"] == f"sha256={wanted}"


async def test_what_was_before_a_notification_is_not_told(engine: Engine, receiver: Receiver) -> None:
    await put(engine.log, flow(), ended("before"), rule(url=receiver.url), ended("after"))
    async with engine.running(quick()):
        await engine.until(DELIVERED)
    assert [call.said["data"]["events"][0]["execution_id"] for call in receiver.calls] == ["after"]


async def test_a_receiver_that_was_down_gets_everything_in_order_and_others_do_not_wait(
    engine: Engine, receiver: Receiver
) -> None:
    await put(engine.log, flow(), rule("down", url="http://localhost:1/"), rule("up", url=receiver.url))
    async with engine.running(quick()):
        await put(engine.log, *(ended(f"x-{n}") for n in range(5)))
        await eventually(lambda: len(receiver.calls) == 5, why="the others")
        (failed,) = await engine.until("notification.failed.down")
        assert isinstance(failed, NotificationFailed)
        assert "does not take connections" in failed.reason
        receiver.calls.clear()
        await put(engine.log, rule("down", url=receiver.url, version=2))
        await engine.until("notification.delivered.down", 5)
    told = [call.said["data"]["events"][0]["execution_id"] for call in receiver.calls]
    assert told == [f"x-{n}" for n in range(5)]
    assert len(await engine.messages("notification.failed.*")) == 1  # however often it was tried


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (reply("500 Internal Server Error", b"the disk is full"), "500 Internal Server Error: the disk is full"),
        (reply("302 Found", b"", "Location: http://localhost:1/elsewhere"), "302 Found"),
        (b"this is no HTTP\r\n\r\n", "did not reply with HTTP"),
        (b"", "did not reply with HTTP"),
        (None, "there was no reply within 0.3 s"),
    ],
)
async def test_what_goes_wrong_is_said_and_tried_again(
    engine: Engine, receiver: Receiver, said: bytes | None, reason: str
) -> None:
    receiver.respond = lambda _: said if len(receiver.calls) < 3 else OK
    await put(engine.log, flow(), rule(url=receiver.url), ended("x-1"))
    async with engine.running(quick(timeout=0.3)):
        (end,) = await engine.until(DELIVERED)
    assert isinstance(end, NotificationDelivered)
    assert (end.attempts, end.reply) == (3, "200 OK: ok")
    (failed,) = await engine.messages("notification.failed.*")
    assert reason in failed.reason
    assert len({call.delivery for call in receiver.calls}) == 1
    assert all(call.line == "POST /hook HTTP/1.1" for call in receiver.calls)


async def test_who_is_gone_is_not_tried_again(engine: Engine, receiver: Receiver) -> None:
    receiver.respond = lambda _: reply("410 Gone")
    await put(engine.log, flow(), rule(url=receiver.url), ended("x-1"))
    async with engine.running(quick()):
        (end,) = await engine.until("notification.dropped.*")
    assert isinstance(end, NotificationDropped)
    assert "410 Gone" in end.reason
    assert len(receiver.calls) == 1


async def test_an_endless_reply_is_not_read_to_its_end(engine: Engine, receiver: Receiver) -> None:
    receiver.respond = lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n" + b"x" * 100_000
    await put(engine.log, flow(), rule(url=receiver.url), ended("x-1"))
    async with engine.running(quick()):
        (end,) = await engine.until(DELIVERED)
    assert end.reply == "200 OK: " + "x" * 200


async def test_two_notifiers_deliver_each_message_once(engine: Engine, receiver: Receiver) -> None:
    rules = [rule(f"rule-{n}", url=receiver.url) for n in range(3)]
    await put(engine.log, flow(), *rules)
    async with hosted(engine, "one", "two", pace=PATIENT):
        await put(engine.log, *(ended(f"x-{n}") for n in range(4)))
        await engine.until(DELIVERED, 12)
    assert len(receiver.calls) == 12
    assert len({call.delivery for call in receiver.calls}) == 12
    dues = await engine.messages("notification.due.*")
    assert len({due.delivery_id for due in dues}) == len(dues) == 12
    assert len(await engine.messages("notification.claimed.*")) == 3


async def test_a_notifier_that_left_is_followed_by_another_one(engine: Engine, receiver: Receiver) -> None:
    await put(engine.log, flow(), rule(url=receiver.url))
    async with hosted(engine, "one"):
        await put(engine.log, ended("x-1"))
        await engine.until(DELIVERED)
    async with hosted(engine, "two"):
        await put(engine.log, ended("x-2"))
        await engine.until(DELIVERED, 2)
    claims = await engine.messages("notification.claimed.*")
    assert [(claim.number, claim.holder) for claim in claims if isinstance(claim, NotificationClaimed)] == [
        (1, "service.notifier.one"),
        (2, "service.notifier.two"),
    ]
    assert len(receiver.calls) == 2


async def test_a_notifier_that_was_killed_loses_nothing(engine: Engine, receiver: Receiver, tmp_path: Path) -> None:
    """It is killed while the receiver has a message that it has not replied to."""
    receiver.respond = lambda call: OK if "x-0" in str(call.said) else None
    await put(engine.log, flow(), rule(url=receiver.url))
    program = (
        "import asyncio, sys; from services.hosting import host; from services.heartbeat import Process;"
        "from tests.services.notifier.stage import quick;"
        "asyncio.run(host(quick(instance='one'), sys.argv[1], asyncio.Event(), process=Process(instance='one')))"
    )
    with (tmp_path / "out").open("wb") as out:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program, engine.server.url), stdout=out, stderr=out
        )
        try:
            await put(engine.log, *(ended(f"x-{n}") for n in range(4)))
            await eventually(lambda: len(receiver.calls) == 2, why="the second message")
        finally:
            os.kill(child.pid, signal.SIGKILL)
            await child.wait()
    receiver.respond = lambda _: OK
    async with hosted(engine, "two"):
        await engine.until(DELIVERED, 4)
    told = [call.said["data"]["events"][0]["execution_id"] for call in receiver.calls]
    assert told == ["x-0", "x-1", "x-1", "x-2", "x-3"]
    assert receiver.calls[1].delivery == receiver.calls[2].delivery
    assert len({call.delivery for call in receiver.calls}) == 4


async def test_a_receiver_without_its_secret_is_said_to_lack_it(engine: Engine, receiver: Receiver) -> None:
    await put(engine.log, flow(), rule(url=receiver.url, secret_env="NOT_THERE"), ended("x-1"))
    async with engine.running(quick()):
        (failed,) = await engine.until("notification.failed.*")
    assert failed.reason == (
        "the notifier's environment variable NOT_THERE is empty or not there: put the secret there"
    )
    assert receiver.calls == []


async def test_the_secret_is_nowhere(
    engine: Engine, receiver: Receiver, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.respond = lambda _: reply("500 No") if len(receiver.calls) < 2 else OK
    await put(engine.log, flow(), rule(url=receiver.url), ended("x-1"))
    async with engine.running(quick(), engine.recorder()):
        await engine.until(DELIVERED)
        await engine.recorded()
    bodies = b"".join(entry.body for entry in await engine.log.read((">",)))
    assert SECRET.encode() not in bodies
    assert SECRET not in caplog.text
    assert all(SECRET.encode() not in call.body and SECRET not in str(call.headers) for call in receiver.calls)
    assert not any(SECRET.encode() in found for found in contents(tmp_path))


def contents(folder: Path) -> list[bytes]:
    found = [file.read_bytes() for file in folder.rglob("*") if file.is_file()]
    assert found
    return found


async def test_the_tables_show_what_became_of_messages(engine: Engine, receiver: Receiver) -> None:
    def respond(call: Call) -> bytes:
        return reply("410 Gone") if "x-1" in call.body.decode() else OK

    receiver.respond = respond
    await put(engine.log, flow(), rule("one", url=receiver.url), rule("two", url="http://localhost:1/"))
    async with engine.running(quick(), engine.recorder()):
        await put(engine.log, ended("x-0"), ended("x-1"))
        await engine.until("notification.delivered.one")
        await engine.until("notification.dropped.one")
        await engine.until("notification.failed.two")
        await engine.recorded()
        rows = await engine.rows(select(t.deliveries).order_by(t.deliveries.c.sequence))
        states = {rule: [row["state"] for row in rows if row["notification_id"] == rule] for rule in ("one", "two")}
        assert states == {"one": ["delivered", "dropped"], "two": ["retrying", "waiting"]}
        await put(engine.log, rule("two", enabled=False, version=2))
        await engine.until("notification.dropped.two", 2)
        await engine.recorded()
    rows = await engine.rows(select(t.deliveries).where(t.deliveries.c.notification_id == "two"))
    assert {row["state"] for row in rows} == {"dropped"}
    assert all("disabled" in row["last_error"] for row in rows)
    dues = [due for due in await engine.messages("notification.due.*") if isinstance(due, NotificationDue)]
    assert {due.title for due in dues} == {"Flow 'flow-1' failed: 1 of 1 VM"}
