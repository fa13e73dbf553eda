"""The composition root: how each part is built from the settings.

A builder imports its part: a process of one service starts in half the time, with half the memory.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from cli.settings import own_files

if TYPE_CHECKING:
    import asyncio

    from litestar import Litestar

    from api.oidc.provider import Provider
    from bus.issuer import Issuer
    from cli.settings import Oidc, Settings
    from services.heartbeat import Process
    from services.hosting import Service

log = logging.getLogger(__name__)


def setup(settings: Settings) -> Service:
    from bus.stream import Placement
    from services.setup.app import Setup

    placement = Placement(replicas=settings.replicas, tags=settings.placement_tags)
    issuer = _issuer(settings)
    if issuer is None:
        return Setup(placement)
    from bus.clock import now
    from bus.closing import close_connections
    from services.setup.authentication import Authentication
    from services.setup.revocation import Revocation

    return Setup(
        placement,
        authentication=Authentication(issuer, now),
        revocation=Revocation(partial(close_connections, settings.nats_url)),
    )


def _issuer(settings: Settings) -> Issuer | None:
    """Return who vouches for enrolled workers; None when its seed is not there. Raises `ValueError`."""
    from bus.address import parse_url
    from bus.identities import ISSUER
    from bus.issuer import Issuer

    folder = parse_url(settings.nats_url).folder
    file = None if folder is None else Path(folder) / ISSUER
    if file is None or not file.exists():
        text = "enrolled workers cannot be let in: there is no file %r in FLOWS_NATS_CREDENTIALS (`flows nats-config`)"
        log.warning(text, ISSUER, extra={"action": "issuer_missing", "part": "setup"})
        return None
    try:
        return Issuer.of(file)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"cannot read the seed of the issuer from {file}: {error}") from error


def registry(settings: Settings) -> Service:
    from services.registry.app import Registry

    return Registry(own=own_files(settings))


def scheduler(_: Settings) -> Service:
    from services.scheduler.app import Scheduler

    return Scheduler()


def executor(_: Settings) -> Service:
    from services.executor.app import Executor

    return Executor()


def worker(settings: Settings) -> Service:
    from services.worker.app import Worker

    return Worker(
        slots=settings.worker_slots,
        own=own_files(settings),
        outbox=settings.outbox,
        labels=settings.worker_labels,
        enrolment=settings.enrolment,
    )


def recorder(settings: Settings) -> Service:
    from services.recorder.app import Recorder
    from services.recorder.store import Tables

    return Recorder(Tables(_database(settings)))


def notifier(settings: Settings) -> Service:
    from services.notifier.app import Notifier
    from services.notifier.delivery import Deliveries
    from services.notifier.targets import Allowed

    try:
        allowed = Allowed.parse(settings.webhook_allow)
    except ValueError as error:
        raise ValueError(f"FLOWS_WEBHOOK_ALLOW: {error}") from None
    return Notifier(Deliveries(allowed=allowed, api_url=settings.public_url), instance=settings.instance)


def tracer(settings: Settings) -> Service:
    if not settings.tracing:
        raise ValueError("OTEL_EXPORTER_OTLP_ENDPOINT is not set: where spans are sent, e.g. http://127.0.0.1:4318")
    from services.tracer.app import Tracer
    from services.tracer.otlp import exporter

    return Tracer(exporter())


SERVICES: dict[str, Callable[[Settings], Service]] = {
    "setup": setup,
    "registry": registry,
    "scheduler": scheduler,
    "executor": executor,
    "worker": worker,
    "recorder": recorder,
    "notifier": notifier,
    "tracer": tracer,
}
NAMES = ("api", *SERVICES)
# The parts of each process of `flows up`. What serves requests, what decides and what moves data are apart: a crash, a
# hang or a heavy backup in one of them stops none of the others.
PROCESSES: dict[str, Sequence[str]] = {
    "api": ("api",),
    "control": ("setup", "registry", "scheduler", "executor", "recorder", "notifier"),
    "worker": ("worker",),
}
TRACING: dict[str, Sequence[str]] = {"tracer": ("tracer",)}  # only where there is something to send spans to


def processes(*, process_per_service: bool, tracing: bool) -> dict[str, Sequence[str]]:
    """Return the parts of each process of `flows up`."""
    each: dict[str, Sequence[str]] = {name: (name,) for name in NAMES if name not in TRACING}
    return {**(each if process_per_service else PROCESSES), **(TRACING if tracing else {})}


def api(
    settings: Settings,
    process: Process,
    *,
    on_lost: Callable[[], Awaitable[None]],
    stopping: asyncio.Event,
    most_streams: int,
) -> Litestar:
    """Build the HTTP API. `on_lost`: its connection to the log has ended; `stopping` ends its endless responses.

    `most_streams`: how many of those there may be.
    """
    from api.app import create_app
    from api.auth import Tokens
    from api.page import files

    if settings.admin_token_file is None:
        raise ValueError("FLOWS_ADMIN_TOKEN_FILE is not set: the file that holds the administrator's token")
    return create_app(
        own=own_files(settings),
        nats_url=settings.nats_url,
        database_url=_database(settings),
        tokens=Tokens.from_file(settings.admin_token_file),
        process=process,
        on_lost=on_lost,
        stopping=stopping,
        most_streams=most_streams,
        provider=None if settings.oidc is None else identity_provider(settings.oidc),
        page=files.load(),
        workers_nats_url=settings.workers_nats_url or None,
    )


def identity_provider(oidc: Oidc) -> Provider:
    """Return the identity provider. Raises `ValueError` for terms that make no sense, and a secret without a file."""
    from api.oidc.provider import Provider
    from api.oidc.terms import Terms, checked

    given = {name: value for name, value in structs.asdict(oidc).items() if name != "client_secret_file"}
    try:
        terms = checked(Terms(**given))
    except ValueError as error:
        raise ValueError(f"FLOWS_OIDC_…: {error}") from None
    if oidc.client_secret_file is None:
        return Provider(terms, None)
    try:
        secret = oidc.client_secret_file.read_text().strip()
    except OSError as error:
        raise ValueError(f"cannot read the client secret from {oidc.client_secret_file}: {error.strerror}") from error
    if not secret:
        raise ValueError(f"the client secret file {oidc.client_secret_file} is empty")
    return Provider(terms, secret)


def _database(settings: Settings) -> str:
    if not settings.database_url:
        raise ValueError("FLOWS_DATABASE_URL is not set, for example sqlite+aiosqlite:////var/lib/flows/flows.db")
    return settings.database_url
