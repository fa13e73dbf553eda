"""`flows serve`: runs parts in this process, until a signal or the first failure."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence

from msgspec import structs

from bus.tasks import cancel_and_wait, unless
from cli import enrolment, parts
from cli.notify import Notifier
from cli.seed import seed
from cli.settings import DEFAULT_NATS_URL, Settings


async def serve(names: Sequence[str], settings: Settings) -> None:
    """Run the named parts until SIGTERM or SIGINT. Raises the first failure."""
    notifier = Notifier(settings.watchdog, settings.alive_file)
    notifying = asyncio.create_task(notifier.run())
    try:
        await _serve(names, settings, notifier)
    finally:
        await cancel_and_wait(notifying)


async def _serve(names: Sequence[str], settings: Settings, notifier: Notifier) -> None:
    from services.heartbeat import Process
    from services.hosting import Service, end_together, host_all

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    process = Process(instance=settings.instance, restarts=settings.restarts)
    worker_url, worker_process = settings.nats_url, process
    if "worker" in names and settings.enrolment_file and (mine := enrolment.read(settings.enrolment_file)):
        labels = enrolment.labels_of(mine, settings.worker_labels)
        settings = structs.replace(settings, worker_labels=labels, enrolment=mine.name)
        worker_url, worker_process = _url_of(mine, settings), structs.replace(process, enrolment=mine.name)
    services = [parts.SERVICES[name](settings) for name in names if name != "api"]
    starting = set(names)
    work: list[asyncio.Task[None]] = []

    def on_start(name: str) -> None:
        starting.discard(name)
        if not starting:
            notifier.started()

    def begin(some: Sequence[Service], url: str = settings.nats_url, process: Process = process) -> None:
        if some:
            hosting = host_all(some, url, stop, process=process, on_start=on_start)
            work.append(asyncio.create_task(hosting))

    # the set-up first, which all wait for; then the registry: the others begin with the settings that it has taken in
    first = ("setup", "registry")
    begin([service for service in services if service.name in first])
    if "setup" in names:
        await unless(stop, seed(settings.nats_url, settings.seeds))
    begin([service for service in services if service.name not in {*first, "worker"}])
    begin([service for service in services if service.name == "worker"], worker_url, worker_process)
    if "api" in names:
        from cli.http import serve_api

        work.append(asyncio.create_task(serve_api(settings, process, stop, on_start)))
    await end_together(work, stop)


def _url_of(mine: enrolment.Enrolment, settings: Settings) -> str:
    """Return where an enrolled worker reaches NATS, with its own credentials. Raises `ValueError`."""
    from bus.address import as_user, parse_url, with_files
    from schemas.workers import user_of

    url = settings.nats_url
    if mine.nats_url and url.partition("?")[0] == DEFAULT_NATS_URL:  # nothing else was said
        url = with_files(mine.nats_url, ca=parse_url(url).ca)
    return as_user(url, user_of(mine.name), mine.secret)
