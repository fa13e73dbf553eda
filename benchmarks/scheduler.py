"""The scheduler as a process of its own: 100,000 flows on 1,000 schedules."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from bus.clock import now
from bus.connection import connect
from bus.envelope import envelope
from bus.log import Log
from bus.setup import declare_at
from schemas.base import Message
from schemas.definitions import Flow, Schedule
from schemas.events import FlowDefined, ScheduleDefined
from tests.servers import root, server_in

FLOWS, SCHEDULES, AT_ONCE = 100_000, 1_000, 1_000
IDLE = 20.0  # seconds


def definitions(tick: datetime) -> Iterator[Message]:
    """Yield the schedules and flows; the flows on the first ten schedules are due at `tick`, all others much later."""
    born = {"version": 1, "created_at": now(), "updated_at": now(), "created_by": "bench", "armed_at": now()}
    for number in range(SCHEDULES):
        cron = f"{tick.minute} {tick.hour} * * *" if number < 10 else f"{number % 60} {(tick.hour + 5) % 24} * * *"
        schedule = Schedule(id=f"s{number}", name=f"s{number}", cron_expression=cron, **born)
        yield ScheduleDefined(id=schedule.id, version=1, definition=schedule)
    for number in range(FLOWS):
        flow = Flow(
            id=f"f{number}",
            name=f"f{number}",
            flow_type="backup",
            target_type="group",
            target_id="g",
            repository_id="r",
            schedule_id=f"s{number % SCHEDULES}",
            **born,
        )
        yield FlowDefined(id=flow.id, version=1, definition=flow)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def scheduler() -> dict[str, float]:
    """Return seconds to start, memory, idle CPU, and the seconds from the instant to the last of 1,000 `flow.due`."""
    with tempfile.TemporaryDirectory() as folder:
        server = server_in(Path(folder))
        server.start()
        client = await connect(root(server), "bench")
        await declare_at(server.url)
        log = Log(client)
        # the instant is far enough for the scheduler to start, and then be idle
        tick = now().replace(second=0, microsecond=0) + timedelta(minutes=2 if now().second < 20 else 3)
        events = [
            envelope(one, id=f"d{number}", source="bench", time=now()) for number, one in enumerate(definitions(tick))
        ]
        for start in range(0, len(events), 1000):
            await log.append(events[start : start + 1000], expect={})
        env = {**os.environ, "FLOWS_NATS_URL": server.url}
        begun = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "serve", "scheduler"], env=env, stderr=subprocess.DEVNULL
        )
        started = await ready(process)
        start_seconds = started - begun
        await asyncio.sleep(2)
        before = cpu_seconds(process.pid)
        await asyncio.sleep(IDLE)
        idle = (cpu_seconds(process.pid) - before) / IDLE
        last = (await log.identity()).last_sequence
        while (await log.identity()).last_sequence < last + AT_ONCE:
            assert now() < tick + timedelta(seconds=30), "the flows were not said to be due"
            await asyncio.sleep(0.005 if now() > tick - timedelta(seconds=1) else 0.5)
        latest = await log.read(["flow.due.*"], after=last)
        assert len(latest) == AT_ONCE
        late = max(entry.stored_at for entry in latest) - tick
        status = Path(f"/proc/{process.pid}/status").read_text()
        process.terminate()
        process.wait()
        await client.close()
        server.stop()
    return {
        "start, s": start_seconds,
        "highest memory, MB": int(status.partition("VmHWM:")[2].split()[0]) / 1024,
        "idle, % of a core": idle * 100,
        "1,000 flows due at one instant: all on the log after, s": late.total_seconds(),
    }


async def ready(process: subprocess.Popen[bytes]) -> float:
    """Wait until a process has nothing to do: a second in which it used no processor; return when that began."""
    quiet_since, used = time.perf_counter(), -1.0
    while time.perf_counter() - quiet_since < 1.0:
        await asyncio.sleep(0.05)
        if (here := cpu_seconds(process.pid)) > used + 0.02 * (time.perf_counter() - quiet_since):
            quiet_since, used = time.perf_counter(), here
    return quiet_since
