"""`flows up`: a nats-server, every service and the API in one process tree, on one data folder.

This process only supervises: a child that ends is started again, and when this process ends, however, all children do.
It imports little, as it stays in memory for as long as the engine runs.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from http.client import OK, HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any

from msgspec import structs
from rich.console import Console

from bus.clock import now
from bus.server import Server
from cli import parts, privacy, tls
from cli.notify import Notifier
from cli.settings import Settings, as_environment, tracing, watchdog
from cli.supervision import Child, LogServer, Signals, check_all, supervise
from cli.terminal import print_line
from schemas import tokens

READY_TIMEOUT = 60.0  # seconds
STOP_PATIENCE = 10.0  # seconds that a child has to end by itself


def up(
    folder: Path,
    *,
    settings: Settings,
    nats_port: int,
    nats_server: str | None,
    process_per_service: bool,
    with_demo: bool,
    console: Console,
) -> None:
    """Run everything until SIGINT or SIGTERM. Raises `OSError`, `ValueError` or `LogError` when it cannot start.

    `settings`: all but what this finds out itself: the addresses of log and tables, and the token's file.
    """
    tls.check(settings, now())
    with Signals() as signals:
        folder.mkdir(parents=True, exist_ok=True)
        server = Server(folder, port=nats_port, program=nats_server)
        server.lock()
        privacy.tighten(folder)
        children: list[Child] = []
        try:
            check_port(settings.host, settings.port)
            with console.status("starting nats-server …"):
                server.start()
            notifier = Notifier(watchdog())
            settings = structs.replace(
                settings,
                nats_url=server.url,
                database_url=_tables(folder / "flows.db"),
                admin_token_file=_token_file(folder),
                data_folder=folder,
                tracing=tracing(),
            )
            processes = parts.processes(process_per_service=process_per_service, tracing=settings.tracing)
            log_server = LogServer(server)
            with console.status("starting services …"):
                _start(children, processes, folder / "logs", settings)
                _wait_until_ready(log_server, children, settings, signals, console, notifier)
            if not signals.stop:
                _greet(console, folder, settings, _demo(folder, settings, console) if with_demo else None)
                supervise(log_server, children, signals, console, notifier)
        finally:
            with console.status("stopping …"):
                _stop(children)
                server.stop()


def _tables(file: Path) -> str:
    """Bring the tables up to date, and return their URL. Another process does it, and takes the migrations with it."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        return pool.submit(_bring_up_to_date, file).result()


def _bring_up_to_date(file: Path) -> str:
    from services.database import bring_up_to_date, sqlite_url

    bring_up_to_date(sqlite_url(file))
    return sqlite_url(file)


def _start(children: list[Child], processes: Mapping[str, Sequence[str]], logs: Path, settings: Settings) -> None:
    """Start the processes. Those that were started are among `children`, also when one cannot be."""
    logs.mkdir(exist_ok=True)
    env = {**os.environ, **as_environment(settings)}
    children.extend(Child(name, logs, env, inside) for name, inside in processes.items())


def _stop(children: list[Child]) -> None:
    for child in children:
        child.process.terminate()
    for child in children:
        child.stop(patience=STOP_PATIENCE)


def _demo(folder: Path, settings: Settings, console: Console) -> str:
    """Set up the demo, and return its flow's id."""
    from cli import demo
    from cli.client import Api

    with console.status("setting up the demo …"):
        trust = settings.tls_cert and tls.pinned(settings.tls_cert)
        return demo.seed(Api(settings.own_url, _token(settings), trust=trust), folder / "demo")


def _wait_until_ready(
    server: LogServer,
    children: list[Child],
    settings: Settings,
    signals: Signals,
    console: Console,
    notifier: Notifier,
) -> None:
    """Wait until the API reports that all parts run, or a signal to stop.

    After `READY_TIMEOUT` it is enough that requests are served. Raises `TimeoutError` with the reason.
    """
    deadline = time.monotonic() + READY_TIMEOUT
    reason, served = "the API does not respond", False
    while not signals.stop and time.monotonic() < deadline:
        try:
            status, reason = _get(settings, "/health/ready")
            served = status == OK
            # what the services have published may be from before a restart of all
            if served and json.loads(reason)["status"] == "ok" and all(child.started for child in children):
                return
        except (OSError, HTTPException):
            served = False
        check_all(server, children, console)
        notifier.live()
        signals.wait(0.05)
    if served:
        print_line(console, (f"not all services run: {reason}", "red"))
    elif not signals.stop:
        raise TimeoutError(f"the services did not become ready within {READY_TIMEOUT:.0f} s: {reason}")


def check_port(host: str, port: int) -> None:
    """Raise `OSError` with what to do when a port cannot be listened on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OSError(
                f"cannot listen on {host} port {port}: {error.strerror}. "
                "Stop what listens there, or choose another address with --host and --port"
            ) from error


def _token_file(folder: Path) -> Path:
    """Return the file with the administrator's token; it is made once, readable by its owner only."""
    file = folder / "admin-token"
    if not file.exists():
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(tokens.secret(secrets.token_urlsafe(tokens.BYTES)) + "\n")
    return file


def _token(settings: Settings) -> str:
    assert settings.admin_token_file
    return settings.admin_token_file.read_text().strip()


def _get(settings: Settings, path: str) -> tuple[int, str]:
    """Ask the API, and return the status and the body. Raises `OSError` or `HTTPException` when it does not respond."""
    where = settings.own_host, settings.port
    if settings.tls_cert is None:
        connection = HTTPConnection(*where, timeout=2)
    else:
        connection = HTTPSConnection(*where, timeout=2, context=tls.pinned(settings.tls_cert))
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {_token(settings)}"})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def _greet(console: Console, folder: Path, settings: Settings, flow_id: str | None) -> None:
    url = settings.own_url
    print_line(console, ("The Protection Flows Engine is running.", "bold green"))
    lines = [
        f"  API       {url}/api/v1",
        f"  Docs      {url}/schema",
        f"  Token     {folder / 'admin-token'}",
        f"  Data      {folder}   (logs in {folder / 'logs'})",
        f"  Log       flows log --follow --data {folder}",
    ]
    if flow_id:
        lines += [
            f"  Demo      flow {flow_id} backs up three VMs every minute into {folder / 'demo' / 'repository'}",
            f"            {url}/api/v1/protection-flows/{flow_id}/executions",
        ]
    for line in lines:
        print_line(console, line)
    for line in _differences(settings):
        print_line(console, (line, "yellow"))
    print_line(console, "Press Ctrl+C to stop.")


def _differences(settings: Settings) -> list[str]:
    """Return which of the settings that this start was given are not those of the log, which counts, and what to do."""
    if not settings.seeds:
        return []
    try:
        _, body = _get(settings, "/api/v1/settings")
        logged: dict[str, Any] = json.loads(body)
    except (OSError, HTTPException, ValueError):
        return []  # the services say the same in their logs
    return [
        f"{option} {'has no limit' if there is None else f'is {there}'}, as it was set before, and not {given}: "
        f"`flows settings set --{option} {given}` changes it"
        for name, given in settings.seeds.items()
        if (there := logged.get(name)) != given and (option := name.replace("_", "-"))
    ]
