"""A list of 10,000 flows: a page of 50 with filters and a sort, beside a bare Litestar handler that answers as much."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import httpx
import uvicorn
from litestar import Litestar, get

from api.app import create_app
from api.auth import Tokens
from api.responses.flows import FlowList
from bus.clock import now
from bus.envelope import Stored, encode, envelope
from bus.log import Identity
from bus.server import Server, free_port
from bus.subjects import subject_of
from schemas.base import Message
from schemas.definitions import Flow, Group, Repository, Schedule
from schemas.events import FlowDefined, GroupDefined, RepositoryDefined, ScheduleDefined
from services import database
from services.recorder.store import Tables

FLOWS = 10_000
REQUESTS = 300
QUERIES = ("limit=50", "limit=50&enabled=true&q=flow-9&sort=-name", "limit=50&offset=9000&sort=name", "label=tier:gold")


def definitions() -> Iterator[Message]:
    born = {"version": 1, "created_at": now(), "updated_at": now(), "created_by": "bench"}
    yield GroupDefined(id="g", version=1, definition=Group(id="g", name="g", **born))
    yield RepositoryDefined(
        id="r", version=1, definition=Repository(id="r", name="r", type="simulated", location="/x", **born)
    )
    yield ScheduleDefined(
        id="s", version=1, definition=Schedule(id="s", name="s", cron_expression="0 2 * * *", armed_at=now(), **born)
    )
    for number in range(FLOWS):
        flow = Flow(
            id=f"f{number}",
            name=f"flow-{number}",
            flow_type="backup",
            target_type="group",
            target_id="g",
            repository_id="r",
            schedule_id="s",
            enabled=number % 3 != 0,
            labels={"tier": "gold"} if number % 100 == 0 else {},
            armed_at=now(),
            **born,
        )
        yield FlowDefined(id=flow.id, version=1, definition=flow)


async def fill(url: str) -> None:
    """Put the flows into the tables, by the recorder's own projection."""
    await database.prepare(url)
    tables = Tables(url)
    entries = []
    for sequence, message in enumerate(definitions(), start=1):
        event = envelope(message, id=str(sequence), source="bench", time=now())
        subject = subject_of(message)
        entries.append(
            Stored(sequence=sequence, subject=subject, stored_at=event.time, body=encode(event), envelope=event)
        )
    identity = Identity(created="bench", last_sequence=len(entries))
    await tables.apply(entries, identity)
    await tables.close()


@contextmanager
def served(app: Litestar) -> Iterator[str]:
    port = free_port("127.0.0.1")
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", access_log=False))
    thread = Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def latencies(client: httpx.Client, url: str) -> list[float]:
    """Return the milliseconds of each request, in order of length."""
    found = []
    for _ in range(REQUESTS):
        begun = time.perf_counter()
        client.get(url).raise_for_status()
        found.append((time.perf_counter() - begun) * 1000)
    return sorted(found)


def listing(folder: Path) -> dict[str, list[float]]:
    """Return latencies in milliseconds by request; the first is the bare handler."""
    url = database.sqlite_url(folder / "flows.db")
    asyncio.run(fill(url))
    server = Server(folder / "data")
    server.start()
    app = create_app(nats_url=server.url, database_url=url, tokens=Tokens("bench"))
    found: dict[str, list[float]] = {}
    with served(app) as address, httpx.Client(headers={"Authorization": "Bearer bench"}) as client:
        page = client.get(f"{address}/api/v1/protection-flows?limit=50").raise_for_status()
        answer = page.json()

        @get("/", sync_to_thread=False)
        def bare() -> dict[str, object]:
            return answer

        assert set(answer) == set(FlowList.__struct_fields__)
        with served(Litestar([bare], logging_config=None)) as plain:
            found["bare Litestar handler, 50 flows (plain)"] = latencies(client, plain)
        for query in QUERIES:
            found[query] = latencies(client, f"{address}/api/v1/protection-flows?{query}")
    server.stop()
    return found
