"""Benchmarks, side by side in one run, each against its plain alternative. `make bench`.

`python -m benchmarks idle` measures an engine without work instead: start, memory and CPU time; `python -m benchmarks
fanout` what a worker reads when there are others; `python -m benchmarks page` how fast the page is in a browser.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from uuid import uuid4

from nats.js.api import AckPolicy, ConsumerConfig
from rich.console import Console
from rich.table import Table

from benchmarks import page
from benchmarks.executor import executor
from benchmarks.fanout import fanout
from benchmarks.history import history, lag
from benchmarks.idle import idle
from benchmarks.listing import FLOWS, listing
from benchmarks.million import million
from benchmarks.scheduler import scheduler
from bus.clock import now
from bus.connection import connect
from bus.envelope import Envelope, envelope
from bus.log import Log
from bus.server import Server
from bus.setup import declare_at
from bus.subjects import STREAM
from schemas.commands import (
    CreateFlow,
    CreateGroup,
    CreateRepository,
    CreateVm,
    ExecuteFlow,
)
from schemas.definitions import FlowSpec, GroupSpec, Member, RepositorySpec, VmSpec
from schemas.events import FlowDue
from services.database import sqlite_url
from services.executor.app import Executor
from services.hosting import host_all
from services.recorder.app import Recorder
from services.recorder.store import Tables
from services.registry.app import Registry
from services.worker.app import Worker
from tests.servers import root, server_in

ROUNDS = 5


def due(number: int) -> Envelope:
    return envelope(
        FlowDue(flow_id="f", occurrence=now(), schedule_id="s"), id=f"{uuid4()}:{number}", source="bench", time=now()
    )


async def rate(count: int, work: Callable[[], Awaitable[object]]) -> list[float]:
    """Return how many a second, for each round."""
    rates = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        await work()
        rates.append(count / (time.perf_counter() - begun))
    return rates


async def append_rates(_server: Server, log: Log, _folder: Path) -> dict[str, list[float]]:
    """Append one by one, in batches, and asked at once."""

    async def one_by_one() -> None:
        for number in range(500):
            await log.append([due(number)], expect={})

    async def batches() -> None:
        for _ in range(10):
            await log.append([due(number) for number in range(1000)], expect={})

    async def grouped() -> None:
        await asyncio.gather(*(log.publish_once(due(number)) for number in range(5000)))

    return {
        "append, one by one (plain)": await rate(500, one_by_one),
        "append, batches of 1,000": await rate(10_000, batches),
        "ask, 5,000 at once in shared batches": await rate(5_000, grouped),
    }


async def read_rates(server: Server, log: Log, _folder: Path) -> dict[str, list[float]]:
    """Read it all: plainly, as followers do, and as whole histories are read."""
    for _ in range(30):
        await log.append([due(number) for number in range(1000)], expect={})
    client = await connect(root(server), "bench-plain")
    count = (await log.identity()).last_sequence

    async def plain() -> None:
        config = ConsumerConfig(ack_policy=AckPolicy.NONE, mem_storage=True)
        subscription = await client.jetstream().pull_subscribe("", stream=STREAM, config=config)
        seen = 0
        while seen < count:
            seen += len(await subscription.fetch(500, timeout=5))
        await subscription.unsubscribe()

    async def follow() -> None:
        await log.read([">"])

    async def pages() -> None:
        async for _ in log.pages(after=0, until=count, size=1000):
            pass

    found = {
        "read with nats-py's fetch (plain)": await rate(count, plain),
        "follow, decoded": await rate(count, follow),
        "pages, decoded": await rate(count, pages),
    }
    await client.close()
    return found


async def pipeline(server: Server, log: Log, folder: Path) -> dict[str, list[float]]:
    """From 'execute' to the last row in the tables: one flow over 2,000 VMs, with an engine that does nothing."""
    stop = asyncio.Event()
    services = [Registry(), Executor(), Worker(slots=50), Recorder(Tables(sqlite_url(folder / "flows.db")))]
    running = asyncio.create_task(host_all(services, server.url, stop))
    names = [f"vm-{number}" for number in range(2000)]
    flow = FlowSpec(name="f", flow_type="backup", target_type="group", target_id="g", repository_id="r")
    commands = [
        *(CreateVm(id=name, spec=VmSpec(vm_name=name)) for name in names),
        CreateGroup(id="g", spec=GroupSpec(name="g", members=[Member(context_id=name) for name in names])),
        CreateRepository(id="r", spec=RepositorySpec(name="r", type="simulated", location="/x")),
        CreateFlow(id="f", spec=flow),
    ]
    begun = time.perf_counter()
    await asyncio.gather(*(ask(log, command) for command in commands))
    await there(log, "catalog.flow.f", 1)
    definitions = len(commands) / (time.perf_counter() - begun)
    rates = []
    for number in range(1, 4):
        begun = time.perf_counter()
        await ask(log, ExecuteFlow(id="f"))
        await there(log, "flow.completed.f", number)
        rates.append(len(names) / (time.perf_counter() - begun))
    stop.set()
    await running
    return {"definitions through the registry": [definitions], "backups, from execute to completed": rates}


async def there(log: Log, subject: str, count: int) -> None:
    """Wait for so many messages on a subject."""
    seen = 0
    async for batch in log.follow([subject], after=0):
        seen += len(batch.entries)
        if seen >= count:
            return


async def ask(log: Log, command: object) -> int:
    return await log.publish_once(envelope(command, id=str(uuid4()), source="bench", time=now(), actor="bench"))  # type: ignore[arg-type]


async def show(
    console: Console, title: str, measure: Callable[[Server, Log, Path], Awaitable[dict[str, list[float]]]]
) -> None:
    """Measure on a server of its own, and print rates with their ratio to the first."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = server_in(folder / "data")
        server.start()
        client = await connect(root(server), "bench")
        try:
            await declare_at(server.url)
            found = await measure(server, Log(client), folder)
        finally:
            await client.close()
            server.stop()
    table = Table("", "a second (median)", "lowest", "highest", "ratio", title=title, title_justify="left")
    plain = median(next(iter(found.values())))
    for what, rates in found.items():
        middle = median(rates)
        table.add_row(what, f"{middle:,.0f}", f"{min(rates):,.0f}", f"{max(rates):,.0f}", f"{middle / plain:.1f}")
    console.print(table)


def show_listing(console: Console) -> None:
    table = Table(
        "", "p50 ms", "p95 ms", "highest ms", "ratio of p50", title=f"A page of {FLOWS:,} flows", title_justify="left"
    )
    with tempfile.TemporaryDirectory() as name:
        found = listing(Path(name))
    plain = median(next(iter(found.values())))
    for what, times in found.items():
        p95 = times[int(len(times) * 0.95)]
        row = (f"{median(times):.1f}", f"{p95:.1f}", f"{times[-1]:.1f}", f"{median(times) / plain:.1f}")
        table.add_row(what, *row)
    console.print(table)


async def show_history(console: Console) -> None:
    table = Table("", "events/s", "lowest", "highest", "ratio", title="Rebuild on SQLite", title_justify="left")
    found = await history()
    plain = median(next(iter(found.values())))
    for what, figures in found.items():
        middle = median(figures)
        table.add_row(what, f"{middle:,.0f}", f"{min(figures):,.0f}", f"{max(figures):,.0f}", f"{middle / plain:.2f}")
    console.print(table)
    lags = await lag()
    p95 = lags[int(len(lags) * 0.95)]
    console.print(
        f"The recorder's lag at 2,000 events/s, ms: p50 {median(lags):.0f}, p95 {p95:.0f}, highest {lags[-1]:.0f}"
    )


def show_million(console: Console) -> None:
    table = Table("", "p50 ms", "p95 ms", "highest ms", title="A million executions", title_justify="left")
    with tempfile.TemporaryDirectory() as name:
        found = million(Path(name))
    for what, times in found.items():
        table.add_row(what, *(f"{one:.1f}" for one in (median(times), times[int(len(times) * 0.95)], times[-1])))
    console.print(table)


async def rates(console: Console) -> None:
    await show(console, "Append", append_rates)
    await show(console, "Read", read_rates)
    await show(console, "All services in one process", pipeline)
    table = Table(
        "", "median", "lowest", "highest", title="The executor alone, 10,000 VMs in one flow", title_justify="left"
    )
    for what, figures in (await executor()).items():
        table.add_row(what, *(f"{figure:,.1f}" for figure in (median(figures), min(figures), max(figures))))
    console.print(table)
    await show_history(console)
    table = Table("", "", title="The scheduler alone, 100,000 flows on 1,000 schedules", title_justify="left")
    for what, figure in (await scheduler()).items():
        table.add_row(what, f"{figure:,.2f}")
    console.print(table)


def show_idle(console: Console, options: list[str]) -> None:
    title = "An idle engine: " + " ".join(["flows up", *options])
    table = Table("", "median", "lowest", "highest", title=title, title_justify="left")
    for what, figures in idle(options).items():
        table.add_row(what, *(f"{figure:,.2f}" for figure in (median(figures), min(figures), max(figures))))
    console.print(table)


async def show_fanout(console: Console) -> None:
    columns = ("workers", "messages", "bytes", "bare queue's", "bytes", "ratio of bytes", "backups/s", "bare queue's")
    table = Table(*columns, title="What workers read for each backup that they do", title_justify="left")
    for count, (ours, bare) in (await fanout()).items():
        table.add_row(
            str(count),
            *(f"{ours.messages:.1f}", f"{ours.bytes:,.0f}", f"{bare.messages:.1f}", f"{bare.bytes:,.0f}"),
            *(f"{ours.bytes / bare.bytes:.2f}", f"{ours.rate:,.0f}", f"{bare.rate:,.0f}"),
        )
    console.print(table)


def show_page(console: Console) -> None:
    title = f"The page in Chromium, ms, {page.ROUNDS} rounds"
    table = Table("", "median", "lowest", "highest", "to be below", title=title, title_justify="left")
    with tempfile.TemporaryDirectory() as name:
        found = page.page(Path(name))
    for what, one in found.items():
        figures = (median(one.figures), min(one.figures), max(one.figures))
        table.add_row(what, *(f"{figure:,.0f}" for figure in figures), f"{one.below:,.0f}" if one.below else "")
    console.print(table)


if __name__ == "__main__":
    terminal = Console(width=110)
    if sys.argv[1:2] == ["fanout"]:
        asyncio.run(show_fanout(terminal))
        sys.exit()
    if sys.argv[1:2] == ["page"]:
        show_page(terminal)
        sys.exit()
    if sys.argv[1:2] == ["idle"]:
        show_idle(terminal, sys.argv[2:])
        sys.exit()
    show_listing(terminal)
    show_million(terminal)
    asyncio.run(rates(terminal))
