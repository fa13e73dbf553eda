"""Server-Sent Events: every accepted message once, in order, from where a client left off."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api import broadcast
from api.broadcast import Broadcaster, SlowConsumer
from api.listener import Listener
from bus.envelope import Stored, encode
from bus.log import Log
from bus.reading import Page
from bus.tasks import cancel_and_wait
from tests.made import flow
from tests.running import Client, Running, wait_until
from tests.support import T0, due, eventually, history, sent


@contextmanager
def stream(running: Running, *, last: str | None = None, **query: str) -> Iterator[Iterator[dict[str, Any]]]:
    headers = {"Authorization": f"Bearer {running.token}", **({"Last-Event-ID": last} if last else {})}
    with httpx.stream("GET", f"{running.url}/api/v1/events", headers=headers, params=query, timeout=30) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == ": connected"
        yield parsed(lines)


def parsed(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    event: dict[str, Any] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if name:
            event[name] = value
        elif "data" in event:
            yield {**event, "data": json.loads(event["data"])}
            event = {}


def test_a_run_is_seen_live_and_a_cut_stream_goes_on_where_it_was(running: Running, api: Client, unique: str) -> None:
    made = flow(api, unique, vms=2)
    with stream(running, flow_id=made["id"]) as events:
        threading.Timer(0.2, api.call, ["POST", f"/protection-flows/{made['id']}/execute"], {"status": 202}).start()
        first = next(events)
        second = next(events)
    assert (first["event"], second["event"]) == ("command.flow.execute", "flow.started")
    assert first["data"]["specversion"] == "1.0"
    started = second["data"]["data"]["execution_id"]
    api.until(f"/protection-flows/{made['id']}/executions", lambda found: found["total"])
    api.ended(started)
    seen = [second]
    with stream(running, last=second["id"], execution_id=started) as events:
        for event in events:
            seen.append(event)
            if event["event"] == "flow.completed":
                break
    on_the_log = api.get(f"/executions/{started}/events", params={"limit": 500})["events"]
    assert [int(event["id"]) for event in seen] == [one["sequence"] for one in on_the_log][1:]
    assert [event["event"] for event in seen] == [one["event"]["type"] for one in on_the_log][1:]


def test_types_are_filtered(running: Running, api: Client, unique: str) -> None:
    with stream(running, type="catalog") as events:
        threading.Timer(0.2, api.create, ["/policies"], {"name": unique}).start()
        event = next(events)
        while event["data"]["data"]["definition"]["name"] != unique:
            event = next(events)
        assert event["event"] == "catalog.policy"


@pytest.mark.parametrize("query", ["flow_id=a.b", "type=*", "execution_id=>"])
def test_bad_filters(api: Client, query: str) -> None:
    api.call("GET", f"/events?{query}", status=400)
    api.call("GET", "/events", status=400, headers={"Last-Event-ID": "yesterday"})
    problem = api.call("GET", "/events", status=400, headers={"Last-Event-ID": "9" * 19})
    assert "not of this log" in problem["detail"]


def test_metrics(running: Running, api: Client, unique: str) -> None:
    api.ended(api.call("POST", f"/protection-flows/{flow(api, unique)['id']}/execute", status=202)["id"])
    done = 'flows_executions{status="success"}'
    # what was counted is kept for some seconds
    text = wait_until(lambda: found if done in (found := httpx.get(f"{running.url}/metrics").text) else "", within=30)
    assert "flows_projection_lag_messages" in text
    assert 'flows_flows{enabled="true"}' in text


CUT_SECONDS = float(os.environ.get("FLOWS_TEST_CUT_SECONDS", "1"))  # thirty, when there is time


def test_many_look_on_and_one_comes_back_while_much_happens(running: Running, api: Client, unique: str) -> None:
    """Forty clients see the same; one is cut again and again, and comes back: no gap, no duplicate."""
    made = flow(api, unique, vms=30)
    first = str(api.get("/events/log", params={"flow": made["id"], "limit": 1})["events"][0]["sequence"])
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            api.ended(api.call("POST", f"/protection-flows/{made['id']}/execute", status=202)["id"])

    def look(last: str, number: int) -> list[int]:
        seen: list[int] = []
        with stream(running, last=last) as events:
            for event in events:
                seen.append(int(event["id"]))
                if len(seen) >= number:
                    break
        return seen

    with ThreadPoolExecutor(42) as pool:
        loading = pool.submit(load)
        crowd = [pool.submit(look, first, 900) for _ in range(40)]
        mine: list[int] = []
        while len(mine) < 900:
            mine += look(str(mine[-1]) if mine else first, 60)
            if len(mine) == 60:
                time.sleep(CUT_SECONDS)  # not a wait: for so long it is cut
        stop.set()
        loading.result()
        on_the_log = []
        while len(on_the_log) < 900:
            after = on_the_log[-1] if on_the_log else int(first)
            found = api.get("/events/log", params={"after": after, "limit": 500})["events"]
            on_the_log += [one["sequence"] for one in found]
        assert mine[:900] == on_the_log[:900]
        assert {tuple(one.result()) for one in crowd} == {tuple(on_the_log[:900])}


async def test_one_who_is_too_slow_is_cut_and_holds_up_nobody(log: Log) -> None:
    broadcaster, listening = Broadcaster(log, since=0), asyncio.Event()
    running = asyncio.create_task(Listener(log, [broadcaster.hear], after=0).run(listening))
    await listening.wait()
    slow, quick = (broadcaster.subscribe(lambda _: True, after=None, ping=5) for _ in range(2))
    waiting = [asyncio.ensure_future(anext(one)) for one in (slow, quick)]
    await asyncio.sleep(0)
    number = broadcast.WAITING + 100
    events = [sent(due(at=T0 + timedelta(seconds=one)), id=f"e{one}") for one in range(number)]
    await log.append(events[:1], expect={})
    assert [entry.sequence for entry in await asyncio.gather(*waiting) if entry is not None] == [1, 1]
    of_quick: list[int] = []
    reading = asyncio.create_task(take(quick, number - 1, of_quick))
    for start in range(1, number, 500):
        last = await log.append(events[start : start + 500], expect={})
        await eventually(lambda last=last: of_quick[-1:] == [last])  # type: ignore[misc]
    assert await reading == list(range(2, number + 1))
    seen = [1]
    with pytest.raises(SlowConsumer):
        await collect(slow, seen)
    assert seen == list(range(1, len(seen) + 1))  # what it got has no gap
    assert len(seen) < number
    again = broadcaster.subscribe(lambda _: True, after=seen[-1], ping=5)
    assert await take(again, number - seen[-1]) == list(range(seen[-1] + 1, number + 1))
    for one in (slow, quick, again):
        await one.aclose()
    await cancel_and_wait(running)


async def test_what_waits_for_one_is_bounded_by_its_size(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    entries: list[Any] = history(*[due(at=T0 + timedelta(seconds=one)) for one in range(10)])
    monkeypatch.setattr(broadcast, "WAITING_BYTES", sum(len(entry.body) for entry in entries[:5]))
    broadcaster = Broadcaster(log, since=0)
    slow = broadcaster.subscribe(lambda _: True, after=None, ping=5)
    waiting = asyncio.ensure_future(anext(slow))
    await asyncio.sleep(0)
    broadcaster.hear(Page(entries=entries[:1], position=1, caught_up=True))
    assert await waiting == entries[0]
    broadcaster.hear(Page(entries=entries[1:], position=10, caught_up=True))
    seen: list[int] = []
    with pytest.raises(SlowConsumer):
        await collect(slow, seen)
    assert seen == [2, 3, 4, 5, 6]
    monkeypatch.setattr(broadcast, "WAITING_BYTES", 1)
    large = broadcaster.subscribe(lambda _: True, after=None, ping=5)
    waiting = asyncio.ensure_future(anext(large))
    await asyncio.sleep(0)
    broadcaster.hear(Page(entries=entries[:1], position=1, caught_up=True))
    assert await waiting == entries[0]  # one message fits, whatever its size
    await large.aclose()


async def test_one_who_catches_up_and_does_not_read_holds_a_page_and_no_more(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = 20 * broadcast.PAGE
    events = [sent(due(at=T0 + timedelta(seconds=one)), id=f"e{one}") for one in range(number)]
    await log.append(events, expect={})
    size = len(encode(events[0]))
    broadcaster = Broadcaster(log, since=number)
    monkeypatch.setattr(broadcast, "HELD_BYTES", 3 * broadcast.PAGE * size)
    unread = [broadcaster.subscribe(lambda _: True, after=0, ping=5) for _ in range(3)]
    for one in unread:
        assert (await asyncio.wait_for(anext(one), 30)).sequence == 1  # type: ignore[union-attr]
    assert broadcaster._held <= 4 * broadcast.PAGE * size
    fourth = asyncio.create_task(take(broadcaster.subscribe(lambda _: True, after=0, ping=5), number))
    await eventually(lambda: broadcaster._freed._waiters)  # there is no room for another page
    assert not fourth.done()
    await unread[0].aclose()  # its connection is cut
    assert await fourth == list(range(1, number + 1))
    for one in unread:
        await one.aclose()
    await eventually(lambda: broadcaster._held == 0)


async def test_one_who_waits_for_room_is_let_go_at_the_end(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    await log.append([sent(due(at=T0 + timedelta(seconds=one)), id=f"e{one}") for one in range(60)], expect={})
    monkeypatch.setattr(broadcast, "HELD_BYTES", 1)
    broadcaster = Broadcaster(log, since=60)
    first, second = (broadcaster.subscribe(lambda _: True, after=0, ping=5) for _ in range(2))
    assert (await anext(first)).sequence == 1  # type: ignore[union-attr]
    waiting = asyncio.create_task(take(second, 60))
    await eventually(lambda: broadcaster._freed._waiters)
    broadcaster.close()
    assert await asyncio.wait_for(waiting, 30) == []
    await first.aclose()


async def collect(looking: AsyncIterator[Stored | None], seen: list[int]) -> None:
    async for entry in looking:
        assert entry is not None
        seen.append(entry.sequence)


async def take(looking: AsyncIterator[Stored | None], number: int, seen: list[int] | None = None) -> list[int]:
    seen = [] if seen is None else seen
    async for entry in looking:
        if entry is not None:
            seen.append(entry.sequence)
        if len(seen) == number:
            break
    return seen


async def test_five_hundred_look_on_at_once(running: Running, api: Client, unique: str) -> None:
    made = flow(api, unique, vms=10)
    request = (
        f"GET /api/v1/events?flow_id={made['id']} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {running.token}\r\n\r\n"
    ).encode()
    ready = asyncio.Semaphore(0)

    async def look() -> list[int]:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(request)
        seen: list[int] = []
        async for raw in reader:
            line = raw.decode().strip()
            if line == ": connected":
                ready.release()
            elif line.startswith("id: "):
                seen.append(int(line[4:]))
            elif line == "event: flow.completed":
                break
        writer.close()
        return seen

    crowd = [asyncio.create_task(look()) for _ in range(500)]
    async with asyncio.timeout(90):
        for _ in crowd:
            await ready.acquire()
        path = f"/protection-flows/{made['id']}/execute"
        started = await asyncio.to_thread(api.call, "POST", path, status=202)
        seen = await asyncio.gather(*crowd)
    await asyncio.to_thread(api.ended, started["id"])
    found = (await asyncio.to_thread(api.get, f"/executions/{started['id']}/events?limit=500"))["events"]
    on_the_log = [one["sequence"] for one in found]
    # `id` comes before `event`: the last one is that of flow.completed
    assert {tuple(one) for one in seen} == {tuple(on_the_log)}


def test_a_browser_that_can_send_no_header_opens_a_stream_by_a_ticket(
    running: Running, api: Client, unique: str
) -> None:
    """An EventSource sends neither a token nor, when it is a new one, the last id."""
    api.create("/policies", name=unique)
    begin = api.get("/events/log", params={"pattern": "catalog.policy", "limit": 1})["events"][0]["sequence"]
    ticket = api.create("/live/ticket")["ticket"]
    address = f"{running.url}/api/v1/events"
    wanted = {"ticket": ticket, "type": "catalog.policy", "after": str(begin - 1)}
    with httpx.stream("GET", address, params=wanted, timeout=30) as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()
        assert next(lines) == ": connected"
        assert int(next(parsed(lines))["id"]) == begin
    again = httpx.get(address, params=wanted)
    assert again.status_code == 401
    assert "was used before" in again.json()["detail"]
    assert ticket not in again.text


@pytest.mark.parametrize("path", ["/protection-flows", "/live/ticket", "/events/log"])
def test_a_ticket_opens_nothing_else(running: Running, api: Client, path: str) -> None:
    ticket = api.create("/live/ticket")["ticket"]
    answer = httpx.request("POST" if "ticket" in path else "GET", f"{running.url}/api/v1{path}?ticket={ticket}")
    assert answer.status_code == 401
    assert "there is no token" in answer.json()["detail"]


def test_a_ticket_is_in_no_log(running: Running, api: Client) -> None:
    tickets = [api.create("/live/ticket")["ticket"] for _ in range(3)]
    address = f"{running.url}/api/v1/events"
    for ticket in tickets:
        for query in ({"after": "-1"}, {"nonsense": "1"}, {"after": str(2**53)}, {"type": "?"}):
            assert httpx.get(address, params={"ticket": ticket, **query}).status_code in {400, 401}
    texts = [file.read_text(errors="replace") for file in (running.folder / "logs").iterdir()]
    texts.append((running.folder / "nats-server.log").read_text())
    assert any("refused" in text for text in texts)  # they are said there
    assert not [ticket for ticket in tickets for text in texts if ticket in text]


@pytest.mark.parametrize("query", [{"ticket": "x"}, {"ticket": "x" * 513}, {"ticket": ""}])
def test_a_wrong_ticket_is_refused(running: Running, query: dict[str, str]) -> None:
    answer = httpx.get(f"{running.url}/api/v1/events", params=query)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_an_after_that_is_not_of_this_log_is_refused(api: Client) -> None:
    problem = api.call("GET", "/events", params={"after": 2**53}, status=400)
    assert problem["detail"].startswith(f"after is {2**53}, but the log ends at ")
