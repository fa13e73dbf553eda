"""Puts services together and runs them in this process, until a signal or the first failure."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from bus.placement import place
from bus.stream import ANYWHERE, Placement
from cli.settings import Settings
from services.hosting import Service, host_all

log = logging.getLogger(__name__)

# Each is imported only where it runs: a process of one service starts in half the time, with half the memory.


def _registry(_: Settings) -> Service:
    from services.registry.app import Registry

    return Registry()


def _scheduler(settings: Settings) -> Service:
    from services.scheduler.app import Scheduler

    return Scheduler(keep=timedelta(days=settings.keep_days) if settings.keep_days else None)


def _executor(settings: Settings) -> Service:
    from services.executor.app import Executor

    return Executor(total_limit=settings.max_concurrent_jobs)


def _worker(settings: Settings) -> Service:
    from services.worker.app import Worker

    return Worker(slots=settings.worker_slots)


def _recorder(settings: Settings) -> Service:
    from services.recorder.app import Recorder
    from services.recorder.store import Tables

    return Recorder(Tables(_database(settings)))


SERVICES: dict[str, Callable[[Settings], Service]] = {
    "registry": _registry,
    "scheduler": _scheduler,
    "executor": _executor,
    "worker": _worker,
    "recorder": _recorder,
}


def _database(settings: Settings) -> str:
    if not settings.database_url:
        raise ValueError("FLOWS_DATABASE_URL is not set, for example sqlite+aiosqlite:////var/lib/flows/flows.db")
    return settings.database_url


async def serve(names: Sequence[str], settings: Settings) -> None:
    """Run the named services until SIGTERM or SIGINT. Raises the first failure."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    services = [SERVICES[name](settings) for name in names if name != "api"]
    placement = Placement(replicas=settings.replicas, tags=settings.placement_tags)
    if placement != ANYWHERE:
        await place(settings.nats_url, placement)
    work = [asyncio.create_task(host_all(services, settings.nats_url, stop))] if services else []
    if "api" in names:
        work.append(asyncio.create_task(_serve_api(settings, stop)))
    await asyncio.wait(work, return_when=asyncio.FIRST_EXCEPTION)
    stop.set()
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


async def _serve_api(settings: Settings, stop: asyncio.Event) -> None:
    import uvicorn

    from api.app import create_app
    from api.auth import Tokens

    class Server(uvicorn.Server):
        """Uvicorn, with signals left to `serve`."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    if settings.admin_token_file is None:
        raise ValueError("FLOWS_ADMIN_TOKEN_FILE is not set: the file that holds the administrator's token")
    lost = asyncio.Event()

    async def on_lost() -> None:
        if not stop.is_set():
            lost.set()

    stopping = asyncio.Event()
    app = create_app(
        nats_url=settings.nats_url,
        database_url=_database(settings),
        tokens=Tokens.from_file(settings.admin_token_file),
        total_limit=settings.max_concurrent_jobs,
        on_lost=on_lost,
        stopping=stopping,
    )
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
        lifespan="on",
        server_header=False,
    )
    server = Server(config)
    serving = asyncio.create_task(server.serve())
    waits = [serving, asyncio.create_task(stop.wait()), asyncio.create_task(lost.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    stopping.set()
    server.should_exit = True
    await serving
    for task in waits[1:]:
        task.cancel()
    if lost.is_set() and not stop.is_set():
        raise RuntimeError("the connection to the log is closed for good: the lines above say why")
    if not stop.is_set():
        raise RuntimeError("the API did not start, or ended by itself: the lines above say why")
