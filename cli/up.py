"""`flows up`: a nats-server, every service and the API in one process tree, on one data folder.

This process only supervises: a child that ends is started again, and when this process ends, however, all children do.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import sys
import time
from pathlib import Path

import httpx
from rich.console import Console

from bus import process
from bus.server import Server
from cli import demo
from cli.serve import NAMES
from cli.settings import Settings
from services.database import sqlite_url

log = logging.getLogger(__name__)

READY_TIMEOUT = 60.0  # seconds
STOP_PATIENCE = 10.0  # seconds that a child has to end by itself
STEADY = 10.0  # seconds: a child that lived longer is started again at once
LONGEST_PAUSE = 30.0  # seconds between starts of a child that keeps failing
_SIGNALS = {signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class Child:
    """A service's process, and how often it had to be started."""

    def __init__(self, name: str, folder: Path, env: dict[str, str]) -> None:
        self.name = name
        self.log_file = folder / f"{name}.log"
        self._env = env
        self._pause = 1.0
        self.start()

    def start(self) -> None:
        with self.log_file.open("ab") as output:
            self.process = process.spawn(
                [sys.executable, "-m", "cli.main", "serve", self.name], output=output, env=self._env
            )
        self._started = time.monotonic()

    def restart(self) -> float:
        """Start it again, and return the seconds waited before: more with each failure in a row."""
        if time.monotonic() - self._started > STEADY:
            self._pause = 1.0
        waited, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
        time.sleep(waited)
        self.start()
        return waited

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None


def up(
    folder: Path,
    *,
    host: str,
    port: int,
    nats_port: int,
    worker_slots: int,
    with_demo: bool,
    console: Console,
) -> None:
    """Run everything until SIGINT or SIGTERM. Raises `OSError` or `LogError` when it cannot start."""
    folder.mkdir(parents=True, exist_ok=True)
    server = Server(folder, port=nats_port)
    server.lock()
    children: list[Child] = []
    try:
        check_port(host, port)
        token_file = _token_file(folder)
        with console.status("starting nats-server …"):
            server.start()
        settings = Settings(
            nats_url=server.url,
            database_url=sqlite_url(folder / "flows.db"),
            admin_token_file=token_file,
            host=host,
            port=port,
            worker_slots=worker_slots,
        )
        logs = folder / "logs"
        logs.mkdir(exist_ok=True)
        env = {**os.environ, **_environment(settings)}
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        with console.status("starting services …"):
            children += [Child(name, logs, env) for name in NAMES]
            if not _wait_until_ready(children, _url(host, port)):
                return
        flow_id = None
        if with_demo:
            with console.status("setting up the demo …"):
                flow_id = demo.seed(_url(host, port), token_file.read_text().strip(), folder / "demo")
        _greet(console, folder, host, port, flow_id)
        _supervise(server, children, console)
    finally:
        with console.status("stopping …"):
            for child in children:
                if not child.ended:
                    child.process.send_signal(signal.SIGTERM)
            for child in children:
                process.stop(child.process, patience=STOP_PATIENCE)
            server.stop()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _supervise(server: Server, children: list[Child], console: Console) -> None:
    """Start again what ends, until a signal asks to stop. It sleeps in the kernel: an idle engine uses no CPU."""
    while True:
        if not server.running:
            console.print("[red]nats-server ended; starting it again[/]")
            server.start()
        for child in children:
            if child.ended:
                last = _last_line(child.log_file)
                console.print(
                    f"[red]{child.name} ended (exit code {child.process.returncode}); starting it again[/] {last}"
                )
                child.restart()
        if signal.sigwait(_SIGNALS) != signal.SIGCHLD:
            return


def _wait_until_ready(children: list[Child], url: str) -> bool:
    """Wait for the API to say that all parts are there; False when a signal asks to stop. Raises `TimeoutError`."""
    deadline = time.monotonic() + READY_TIMEOUT
    reason = "no answer"
    while time.monotonic() < deadline:
        if signal.sigpending() & (_SIGNALS - {signal.SIGCHLD}):
            return False
        try:
            answer = httpx.get(f"{url}/health/ready", timeout=2)
            if answer.status_code == 200:
                return True
            reason = answer.text
        except httpx.HTTPError:
            pass
        for child in children:
            if child.ended:
                reason = f"{child.name}: {_last_line(child.log_file)}"
                child.restart()
        time.sleep(0.05)
    raise TimeoutError(f"the services did not become ready within {READY_TIMEOUT:.0f} s: {reason}")


def check_port(host: str, port: int) -> None:
    """Raise `OSError` that says what to do when a port cannot be listened on."""
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
            stream.write(secrets.token_urlsafe(32) + "\n")
    return file


def _environment(settings: Settings) -> dict[str, str]:
    return {
        "FLOWS_NATS_URL": settings.nats_url,
        "FLOWS_DATABASE_URL": settings.database_url,
        "FLOWS_ADMIN_TOKEN_FILE": str(settings.admin_token_file),
        "FLOWS_HOST": settings.host,
        "FLOWS_PORT": str(settings.port),
        "FLOWS_WORKER_SLOTS": str(settings.worker_slots),
    }


def _url(host: str, port: int) -> str:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def _last_line(file: Path) -> str:
    lines = file.read_text(errors="replace").splitlines()
    return lines[-1][:500] if lines else "it said nothing"


def _greet(console: Console, folder: Path, host: str, port: int, flow_id: str | None) -> None:
    url = _url(host, port)
    lines = [
        "[bold green]The Protection Flows Engine is running.[/]",
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
    for line in [*lines, "Press Ctrl+C to stop."]:
        console.print(line, soft_wrap=True, highlight=False)
