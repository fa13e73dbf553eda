"""Rebuild: the log into an empty SQLite database, beside a plain `executemany` of its rows. And the recorder's lag."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import insert, select
from sqlalchemy.dialects import sqlite as dialect

from bus.clock import now
from bus.connection import connect
from bus.envelope import Envelope, envelope
from bus.log import Log
from bus.setup import declare_at
from schemas import tables as t
from schemas.base import Message
from schemas.definitions import Flow, Group, Member, Repository, Vm
from schemas.events import (
    BackupCompleted,
    BackupRequested,
    BackupStarted,
    FlowCompleted,
    FlowDefined,
    FlowDue,
    FlowPlanned,
    FlowStarted,
    GroupDefined,
    PlannedBackup,
    RepositoryDefined,
    VmDefined,
)
from schemas.ids import backup_id
from services import database
from services.recorder.app import Recorder
from services.recorder.rebuild import rebuild
from services.recorder.store import Tables
from tests.servers import root, server_in

VMS, FLOWS, EXECUTIONS = 20, 50, 1_500
RATE, SECONDS = 2_000, 10  # of the lag


def definitions() -> Iterator[Message]:
    born = {"version": 1, "created_at": now(), "updated_at": now(), "created_by": "bench"}
    names = [f"vm-{number}" for number in range(VMS)]
    for name in names:
        yield VmDefined(id=name, version=1, definition=Vm(id=name, vm_name=name, **born))
    group = Group(id="g", name="g", members=[Member(context_id=name) for name in names], **born)
    yield GroupDefined(id="g", version=1, definition=group)
    repository = Repository(id="r", name="r", type="simulated", location="/x", **born)
    yield RepositoryDefined(id="r", version=1, definition=repository)
    target = {"flow_type": "backup", "target_type": "group", "target_id": "g", "repository_id": "r", "armed_at": now()}
    for number in range(FLOWS):
        flow = Flow(id=f"f{number}", name=f"f{number}", **target, **born)
        yield FlowDefined(id=flow.id, version=1, definition=flow)


def requested(at: datetime, **about: str) -> BackupRequested:
    """Return a request for a backup by the simulated engine."""
    return BackupRequested(
        **about,
        vm_name=about["context_id"],
        disks=[],
        repository_id="r",
        engine="simulated",
        location="/x",
        config={},
        backup_type="auto",
        retry_attempts=0,
        retry_delay_seconds=30,
        timeout_seconds=None,
        requested_at=at,
    )


def execution(number: int, *, at: Any = None) -> Iterator[Message]:
    """Yield all messages of one execution over all VMs, as the engine would leave them."""
    at = at or now()
    flow, id_ = f"f{number % FLOWS}", str(uuid4())
    names = [f"vm-{number}" for number in range(VMS)]
    yield FlowDue(flow_id=flow, occurrence=at, schedule_id="s")
    yield FlowStarted(
        flow_id=flow,
        execution_id=id_,
        flow_name=flow,
        flow_version=1,
        execution_type="scheduled",
        triggered_by="scheduler",
        occurrence=at,
        overlap_policy="skip",
        repository_id="r",
        policy_id=None,
        priority=0,
        max_concurrent_jobs=None,
        jobs=VMS,
        parts=1,
    )
    plan = [PlannedBackup(backup_id=backup_id(id_, name), context_id=name, vm_name=name) for name in names]
    yield FlowPlanned(flow_id=flow, execution_id=id_, part=1, parts=1, backups=plan, excluded=[])
    abouts = [
        {"flow_id": flow, "execution_id": id_, "backup_id": one.backup_id, "context_id": one.context_id} for one in plan
    ]
    for about in abouts:
        yield requested(at, **about)
    for about in abouts:
        yield BackupStarted(**about, attempt=1, worker="bench-1")
    for about in abouts:
        yield BackupCompleted(**about, attempt=1, bytes_read=1 << 20, bytes_transferred=1 << 19, snapshot_ref="/x/1")
    yield FlowCompleted(
        flow_id=flow,
        execution_id=id_,
        status="success",
        started_at=at,
        completed_at=at + timedelta(seconds=1),
        jobs_created=VMS,
        jobs_completed=VMS,
        jobs_failed=0,
        jobs_skipped=0,
        bytes_transferred=VMS << 19,
        error_message=None,
    )


def sealed(messages: Iterator[Message] | list[Message]) -> list[Envelope]:
    return [
        envelope(one, id=str(uuid4()), source="bench", time=now(), correlationid=getattr(one, "execution_id", None))
        for one in messages
    ]


async def history() -> dict[str, list[float]]:
    """Return events a second for each way, three rounds."""
    found: dict[str, list[float]] = {"plain executemany of the same rows": [], "rebuild": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = server_in(folder / "nats")
        server.start()
        client = await connect(root(server), "bench")
        await declare_at(server.url)
        log = Log(client)
        events = sealed(definitions())
        for number in range(EXECUTIONS):
            events += sealed(execution(number))
        for start in range(0, len(events), 1000):
            await log.append(events[start : start + 1000], expect={})
        for round_ in range(3):
            url = database.sqlite_url(folder / f"{round_}.db")
            begun = time.perf_counter()
            async for _ in rebuild(log, url):
                pass
            found["rebuild"].append(len(events) / (time.perf_counter() - begun))
            rows = await _rows(url)
            begun = time.perf_counter()
            _plain(folder / f"plain-{round_}.db", rows)
            found["plain executemany of the same rows"].append(len(events) / (time.perf_counter() - begun))
        await client.close()
        server.stop()
    return found


async def _rows(url: str) -> list[tuple[str, list[tuple[Any, ...]]]]:
    """Return each table's INSERT, and its rows as the driver takes them."""
    engine = database.reader(url)
    found = []
    async with engine.connect() as connection:
        for table in t.metadata.sorted_tables:
            rows = (await connection.exec_driver_sql(f"SELECT * FROM {table.name}")).all()
            statement = str(insert(table).compile(dialect=dialect.dialect(paramstyle="qmark")))
            found.append((statement, [tuple(row) for row in rows]))
    await engine.dispose()
    return found


def _plain(file: Path, rows: list[tuple[str, list[tuple[Any, ...]]]]) -> None:
    database.upgrade(database.sqlite_url(file))
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    for statement, values in rows:
        connection.executemany(statement, values)
    connection.commit()
    connection.close()


async def lag() -> list[float]:
    """Return the recorder's lag in ms, looked at again and again, while 2,000 events a second come."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = server_in(folder / "nats")
        server.start()
        client = await connect(root(server), "bench")
        await declare_at(server.url)
        log = Log(client)
        url = database.sqlite_url(folder / "flows.db")
        recorder = Recorder(Tables(url))
        await recorder.open(log, None)  # type: ignore[arg-type]
        work = asyncio.create_task(recorder.run())
        await log.append(sealed(definitions()), expect={})
        reader = database.reader(url)
        lags: list[float] = []
        begun = time.perf_counter()
        for tick in range(SECONDS * 20):
            count = RATE // 20
            messages = [message for number in range(-(-count // 64)) for message in execution(tick + number)]
            events = sealed(messages)[:count]
            last = await log.append(events, expect={})
            appended = time.perf_counter()
            while True:
                async with reader.connect() as connection:
                    position = (await connection.execute(select(t.projection.c.position))).scalar() or 0
                if position >= last:
                    break
                await asyncio.sleep(0.002)
            lags.append((time.perf_counter() - appended) * 1000)
            await asyncio.sleep(max(0.0, begun + (tick + 1) / 20 - time.perf_counter()))
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await recorder.close()
        await reader.dispose()
        await client.close()
        server.stop()
    return sorted(lags)
