"""`flows up`: a nats-server, every service and the API in one process tree, on one data folder.

This process only supervises: a child that ends is started again, and when this process ends, however, all children do.
"""

from __future__ import annotations

import logging
import os
import secrets
import select
import shutil
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import httpx
from rich.console import Console

from bus import process
from bus.errors import LogError
from bus.server import Server
from cli import demo
from cli.settings import NAMES, Settings
from services.database import bring_up_to_date, sqlite_url

log = logging.getLogger(__name__)

READY_TIMEOUT = 60.0  # seconds
STOP_PATIENCE = 10.0  # seconds that a child has to end by itself
STEADY = 5.0  # seconds: a child that lived longer is started again at once
LONGEST_PAUSE = 30.0  # seconds between starts of a child that keeps failing
ASK_EVERY = 5.0  # seconds between questions to nats-server whether it can write
SPACE = 32 * 1024 * 1024  # bytes that have to be free before a nats-server that found the disk full is started again
_SIGNALS = {signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class Signals:
    """Waits for a child to end or somebody to ask to stop, asleep in the kernel: an idle engine uses no CPU."""

    def __init__(self) -> None:
        self.stop = False
        self._reader, self._writer = socket.socketpair()
        for end in (self._reader, self._writer):
            end.setblocking(False)

    def __enter__(self) -> Self:
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._previous = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._reader.close()
        self._writer.close()

    def wait(self, timeout: float | None) -> None:
        """Return when a signal has come, or `timeout` seconds have passed."""
        if not self.stop:
            select.select([self._reader], [], [], timeout)
            with suppress(BlockingIOError):
                self._reader.recv(4096)

    def _note(self, number: int, _frame: object) -> None:
        self.stop = self.stop or number != signal.SIGCHLD


class Child:
    """A service's process, and when it is to be started again after it has ended."""

    def __init__(self, name: str, folder: Path, env: dict[str, str]) -> None:
        self.name = name
        self.log_file = folder / f"{name}.log"
        self.restart_at: float | None = None  # on the monotonic clock
        self._env = env
        self._pause = 0.0
        self._start()

    def _start(self) -> None:
        with self.log_file.open("ab") as output:
            command = [sys.executable, "-m", "cli.main", "serve", self.name]
            self.process = process.spawn(command, output=output, env=self._env)
        self._started = time.monotonic()
        self.restart_at = None

    def look_after(self) -> str | None:
        """Start the process again when it has ended, at once at first, later with pauses; return what to tell of it."""
        if self.process.poll() is None:
            return None
        now = time.monotonic()
        if self.restart_at is None:
            self._pause = 0.0 if now - self._started > STEADY else min(2 * self._pause + 1, LONGEST_PAUSE)
            self.restart_at = now + self._pause
            if self._pause:
                return f"{self.name} ended (exit code {self.process.returncode}): {self.last_words}"
        if now < self.restart_at:
            return None
        code = self.process.returncode
        self._start()
        return f"{self.name} started again after exit code {code}"

    @property
    def last_words(self) -> str:
        lines = self.log_file.read_text(errors="replace").splitlines()
        return lines[-1][:500] if lines else "it said nothing"


class LogServer:
    """The nats-server, and when it is to be looked at again."""

    def __init__(self, server: Server) -> None:
        self.look_at = 0.0  # on the monotonic clock
        self._server = server
        self._pause = 0.0
        self._told = ""

    def look_after(self) -> str | None:
        """Start the server again when it has ended or writes no more, with pauses when that fails; return what to tell.

        It is left alone while the disk is full: then it could only freeze again.
        """
        now = time.monotonic()
        if self._server.running:
            if now < self.look_at:
                return None
            self.look_at = now + ASK_EVERY
            error = self._server.write_error()
            if error is None:
                self._pause, self._told = 0.0, ""
                return None
            if shutil.disk_usage(self._server.folder).free < SPACE:
                return self._once(f"nats-server cannot write; it starts again when the disk has space: {error}")
            self._server.kill()
            return self._start(f"nats-server could not write ({error})")
        if self._pause and now < self.look_at:
            return None
        return self._start("nats-server ended")

    def _start(self, reason: str) -> str | None:
        try:
            self._server.start()
        except (LogError, OSError) as error:
            self._pause = min(2 * self._pause + 1, LONGEST_PAUSE)
            self.look_at = time.monotonic() + self._pause
            return self._once(f"{reason}; it does not start again, and is tried until it does: {error}")
        self.look_at = time.monotonic() + ASK_EVERY
        return f"{reason}; started again"

    def _once(self, news: str) -> str | None:
        """Return news that have not been told since all was well."""
        if self._told:
            return None
        self._told = news
        return news


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
    with Signals() as signals:
        _up(folder, host, port, nats_port, worker_slots, with_demo, console, signals)


def _up(
    folder: Path,
    host: str,
    port: int,
    nats_port: int,
    worker_slots: int,
    with_demo: bool,
    console: Console,
    signals: Signals,
) -> None:
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
        bring_up_to_date(settings.database_url)
        env = {**os.environ, **_environment(settings)}
        with console.status("starting services …"):
            children += [Child(name, logs, env) for name in NAMES]
            log_server = LogServer(server)
            _wait_until_ready(log_server, children, _url(host, port), signals, console)
        if signals.stop:
            return
        flow_id = None
        if with_demo:
            with console.status("setting up the demo …"):
                flow_id = demo.seed(_url(host, port), token_file.read_text().strip(), folder / "demo")
        _greet(console, folder, host, port, flow_id)
        _supervise(log_server, children, signals, console)
    finally:
        with console.status("stopping …"):
            for child in children:
                child.process.terminate()
            for child in children:
                process.stop(child.process, patience=STOP_PATIENCE)
            server.stop()


def _supervise(server: LogServer, children: list[Child], signals: Signals, console: Console) -> None:
    """Start again what ends, until a signal asks to stop."""
    while not signals.stop:
        _look_after(server, children, console)
        looks = [server.look_at, *(child.restart_at for child in children if child.restart_at is not None)]
        signals.wait(max(0.0, min(looks) - time.monotonic()))


def _look_after(server: LogServer, children: list[Child], console: Console) -> None:
    for part in (server, *children):
        if news := part.look_after():
            console.print(news, style="red", markup=False, highlight=False)


def _wait_until_ready(server: LogServer, children: list[Child], url: str, signals: Signals, console: Console) -> None:
    """Wait for the API to say that all parts are there, or a signal to stop. Raises `TimeoutError` with the reason."""
    deadline = time.monotonic() + READY_TIMEOUT
    reason = "no answer"
    while not signals.stop and time.monotonic() < deadline:
        try:
            answer = httpx.get(f"{url}/health/ready", timeout=2)
            if answer.status_code == 200:
                return
            reason = answer.text
        except httpx.HTTPError:
            pass
        _look_after(server, children, console)
        signals.wait(0.05)
    if not signals.stop:
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
