"""How the real services become simulated processes. What they expect of a process, they get here; nowhere else.

A service reads the clock as `now`, its own name as `worker_name`, and its host is the little that `services.hosting`
does: open, give messages to handlers, run until something fails.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import Any
from unittest.mock import patch

from api.commands import CommandClient, Recorded
from api.listener import Listener
from api.tail import CommandOutcome
from bus.errors import LogError
from bus.stream import Queue
from schemas.commands import Command
from schemas.events import BackupRequested
from services import checkpoints, deciding
from services.consuming import Handler, Queues, consume
from services.executor.app import Executor
from services.recorder.app import Recorder
from services.registry.app import Registry
from services.scheduler.app import Scheduler
from services.worker.app import Worker
from services.worker.engines.engine import BackupError, Progress, Report, Result
from tests.simulation.log import SimulatedLog
from tests.simulation.loop import current
from tests.simulation.store import Database, MemoryStore

KINDS = ("registry", "scheduler", "executor", "worker", "recorder", "api")
HOUSE = ("services.", "api.", "bus.")
LISTENING = 20.0  # seconds that a request waits for an API that has just started
PATIENCE = 5.0  # seconds that the API waits for an outcome
SIZE = 1 << 20
# so that what happens after thousands of messages happens in a small world too
SMALL = (
    (checkpoints, "EVERY", 12),
    (checkpoints, "PART", 3),
    (deciding, "PATIENCE", 40),
    (deciding, "BATCH_LIMIT", 3),
)

Clock = Callable[[], datetime]


class Engine:
    """An engine whose every attempt lasts, fails or hangs as the seed says. It notes who runs what, and when."""

    def __init__(self, seed: str, runs: list[Run]) -> None:
        self._seed = seed
        self._runs = runs

    async def backup(self, request: BackupRequested, attempt: int, report: Report) -> Result:
        digest = sha256(f"{self._seed}/{request.backup_id}/{attempt}".encode()).digest()
        chance, length = digest[0] / 256, digest[1] / 256
        seconds = 0.05 + 1.5 * length if chance < 0.55 else 5 + 90 * length * length
        loop = asyncio.get_running_loop()
        run = Run(request.backup_id, attempt, loop.time())
        self._runs.append(run)
        try:
            if digest[2] < 26 and request.timeout_seconds is not None:
                seconds = 10.0 * request.timeout_seconds  # it hangs
            elif seconds > 10:
                await asyncio.sleep(seconds / 2)
                report(Progress(bytes_total=SIZE, bytes_read=SIZE // 2, bytes_transferred=SIZE // 2))
                seconds /= 2
            await asyncio.sleep(seconds)
            if digest[3] < 40:
                raise BackupError(f"attempt {attempt} was to fail")
            return Result(bytes_read=SIZE, bytes_transferred=SIZE, snapshot_ref=f"simulated:{request.backup_id}")
        finally:
            process = current()
            if process is None or not process.dead:
                run.ended = loop.time()

    async def discard(self, request: BackupRequested, *, keep: str | None) -> None:
        """Leave nothing behind: there is nothing."""


class Run:
    """One engine at work, in one process."""

    def __init__(self, backup_id: str, attempt: int, begun: float) -> None:
        self.backup_id = backup_id
        self.attempt = attempt
        self.begun = begun
        self.ended: float | None = None
        self.process = current()


class Api:
    """The part of the API between a request and the log: the real command client, without HTTP."""

    name = "api"

    def __init__(self, clock: Clock, database: Database | None) -> None:
        self._clock = clock
        self._database = database
        self._listening = asyncio.Event()

    async def open(self, log: SimulatedLog, subscribe: Any) -> None:
        del subscribe
        self._log = log
        end = (await log.identity()).last_sequence
        self._commands = CommandClient(log, self._recorded, self._clock, since=end)
        self._listener = Listener(log, [self._commands.hear], after=end)

    async def run(self) -> None:
        await self._listener.run(self._listening)

    async def ask(self, command: Command, id: str, *, careless: bool) -> CommandOutcome | None:
        """Return a command's outcome, None when there is none yet or it is not known whether it was taken.

        `careless`: as a client does that only relies on the log's duplicate window.
        """
        try:
            async with asyncio.timeout(LISTENING):
                await self._listening.wait()
            return await self._commands.submit(command, id=id, actor="admin", keyed=not careless, patience=PATIENCE)
        except (LogError, TimeoutError):
            return None

    async def _recorded(self, command_id: str) -> Recorded:
        """Look into the recorder's tables, which lag as they do."""
        await asyncio.sleep(0.001)
        if self._database is None:
            return Recorded(position=0)
        row = self._database.tables["commands"].get((command_id,))
        if row is None:
            return Recorded(position=self._database.position)
        outcome = None
        if row["outcome"] != "pending":
            accepted = row["outcome"] == "accepted"
            outcome = CommandOutcome(sequence=row["outcome_sequence"], accepted=accepted, code=row["code"])
        return Recorded(position=self._database.position, sequence=row["sequence"], outcome=outcome)


def service(kind: str, *, name: str, clock: Clock, engine: Engine, database: Database | None) -> Any:
    """Return a new instance of a service, as its process makes it at its start."""
    makers: dict[str, Callable[..., Any]] = {
        "registry": Registry,
        "scheduler": Scheduler,
        "executor": Executor,
        "worker": partial(Worker, slots=2, engines={"simulated": engine}),
        "recorder": lambda: Recorder(MemoryStore(database or Database())),
        "api": partial(Api, database=database),
    }
    make = makers[kind]
    if _takes_a_clock(kind, makers[kind]):
        make = partial(make, clock=clock)
    with _everywhere("worker_name", lambda: name):
        return make()


_clocks: dict[str, bool] = {}


def _takes_a_clock(kind: str, make: Callable[..., Any]) -> bool:
    if kind not in _clocks:
        _clocks[kind] = "clock" in inspect.signature(make).parameters
    return _clocks[kind]


async def host(service: Any, log: SimulatedLog) -> None:
    """Run a service until it fails."""
    waiting: list[tuple[Queue, Handler]] = []

    def subscribe(queues: Queues, handler: Handler, *, slots: int = 1) -> None:
        (queue,) = queues()  # no labels here: there is one for all workers
        waiting.extend([(queue, handler)] * slots)

    await log.identity()  # the set-up of the stream: it must answer
    await service.open(log, subscribe)
    for queue, handler in waiting:
        asyncio.create_task(_slot(log, queue, handler))  # noqa: RUF006  the process keeps it
    await service.run()


async def _slot(log: SimulatedLog, queue: Queue, handler: Handler) -> None:
    while True:
        await consume(handler, await log.take(queue))


def now() -> datetime:
    """Return what the clock of the process that runs says."""
    process: Any = current()
    return process.clock()


@contextmanager
def virtual_time() -> Iterator[None]:
    """Have the services, the API and the log read the simulated clock."""
    with _everywhere("now", now), ExitStack() as stack:
        for module, name, value in SMALL:
            stack.enter_context(patch.object(module, name, value))
        yield


@contextmanager
def _everywhere(name: str, value: object) -> Iterator[None]:
    """Put another value in the place of a name, in all modules that have imported it from bus/."""
    origin = {"now": "bus.clock", "worker_name": "bus.connection"}[name]
    real = getattr(sys.modules[origin], name)
    patches = _patches(name, real)
    for one in patches:
        setattr(one, name, value)
    try:
        yield
    finally:
        for one in patches:
            setattr(one, name, real)


_found: dict[str, list[Any]] = {}


def _patches(name: str, real: object) -> list[Any]:
    if name not in _found:
        modules = [module for key, module in sorted(sys.modules.items()) if key.startswith(HOUSE)]
        _found[name] = [module for module in modules if getattr(module, name, None) is real]
    return _found[name]
