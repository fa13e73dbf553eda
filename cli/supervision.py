"""Supervises child processes and a nats-server: what ends is started again, with pauses when that does not help."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from rich.console import Console

from bus import process
from bus.errors import LogError
from bus.server import Server
from cli.notify import Notifier
from cli.settings import as_environment_of_child
from cli.terminal import print_line
from cli.watchdog import Watchdog
from services.health import WINDOW

STEADY = 5.0  # seconds: a child that lived longer is started again at once
LONGEST_PAUSE = 30.0  # seconds between starts of a child that keeps failing
CHECK_EVERY = 5.0  # seconds between checks whether nats-server can write
SPACE = 32 * 1024 * 1024  # bytes that have to be free before a nats-server that found the disk full is started again
_SIGNALS = {signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class Signals:
    """Waits for a child to end or a signal to stop, asleep in the kernel: an idle engine uses no CPU."""

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

    def wait(self, timeout: float | None, sockets: Sequence[socket.socket] = ()) -> None:
        """Return when a signal or something at one of the sockets has come, or `timeout` seconds have passed."""
        if not self.stop:
            select.select([self._reader, *sockets], [], [], timeout)
            with suppress(BlockingIOError):
                self._reader.recv(4096)

    def _note(self, number: int, _frame: object) -> None:
        self.stop = self.stop or number != signal.SIGCHLD


class Child:
    """A process of services, and when it is to be started again after it has ended. One that hangs is killed.

    `parts`: what runs in it; without any, the one that it is named after.
    """

    def __init__(self, name: str, folder: Path, env: dict[str, str], parts: Sequence[str] = ()) -> None:
        self.name = name
        self._parts = parts or (name,)
        self.log_file = folder / f"{name}.log"
        self.restart_at: float | None = None  # on the monotonic clock
        self._env = env
        self._pause = 0.0
        self._instance = f"{os.uname().nodename}-up"  # one for each data folder: the same after any restart
        self._restarts: deque[float] = deque()  # when it was started again
        self.watchdog = Watchdog()
        self._start()

    def _start(self) -> None:
        with self.log_file.open("ab") as output:
            command = [sys.executable, "-m", "cli.main", "serve", *self._parts]
            about = as_environment_of_child(self._instance, len(self._restarts), self.watchdog.environment)
            self.process = process.spawn(command, output=output, env={**self._env, **about})
        self._started = time.monotonic()
        self.watchdog.begin(self._started)
        self.restart_at = None

    def _restart(self, now: float) -> None:
        self._restarts.append(now)
        while now - self._restarts[0] > WINDOW.total_seconds():
            self._restarts.popleft()
        self._start()

    def check(self) -> str | None:
        """Start the process again when it has ended, at once at first, later with pauses; return what to print.

        One that gives no sign of life for too long is killed before.
        """
        now = time.monotonic()
        if self.process.poll() is None:
            if not self.watchdog.silent(now):
                return None
            limit = self.watchdog.limit
            self.process.kill()
            self.process.wait()
            self._restart(now)
            return f"{self.name} gave no sign of life for {limit:.0f} s: killed, and started again"
        if self.restart_at is None:
            self._pause = 0.0 if now - self._started > STEADY else min(2 * self._pause + 1, LONGEST_PAUSE)
            self.restart_at = now + self._pause
            if self._pause:
                return f"{self.name} ended (exit code {self.process.returncode}): {self.last_line}"
        if now < self.restart_at:
            return None
        code = self.process.returncode
        self._restart(now)
        return f"{self.name} started again after exit code {code}"

    @property
    def started(self) -> bool:
        """Whether all parts of the process have said that they have started, where that can be heard."""
        return self.watchdog.started or self.watchdog.socket is None

    @property
    def check_at(self) -> float:
        """When it is to be checked again, on the monotonic clock, when nothing comes from it before."""
        return self.watchdog.due if self.restart_at is None else self.restart_at

    def stop(self, *, patience: float) -> None:
        """Ask the process to end, and kill it when it has not within `patience` seconds."""
        process.stop(self.process, patience=patience)
        self.watchdog.close()

    @property
    def last_line(self) -> str:
        """The last line of the process's log: the message alone where it is a structured line."""
        lines = self.log_file.read_text(errors="replace").splitlines()
        if not lines:
            return "it logged nothing"
        try:
            return str(json.loads(lines[-1])["message"])[:500]
        except (ValueError, KeyError, TypeError):
            return lines[-1][:500]


class LogServer:
    """The nats-server, and when it is to be checked again."""

    def __init__(self, server: Server) -> None:
        self.check_at = 0.0  # on the monotonic clock
        self._server = server
        self._pause = 0.0
        self._reported = ""

    def check(self) -> str | None:
        """Start the server again when it has ended or cannot write, with pauses when that fails; return what to print.

        It is left alone while the disk is full: then it could only freeze again.
        """
        now = time.monotonic()
        if self._server.running:
            if now < self.check_at:
                return None
            self.check_at = now + CHECK_EVERY
            error = self._server.write_error()
            if error is None:
                self._pause, self._reported = 0.0, ""
                return None
            if shutil.disk_usage(self._server.folder).free < SPACE:
                return self._once(f"nats-server cannot write; it starts again when the disk has space: {error}")
            self._server.kill()
            return self._start(f"nats-server could not write ({error})")
        if self._pause and now < self.check_at:
            return None
        return self._start("nats-server ended")

    def _start(self, reason: str) -> str | None:
        try:
            self._server.start()
        except (LogError, OSError) as error:
            self._pause = min(2 * self._pause + 1, LONGEST_PAUSE)
            self.check_at = time.monotonic() + self._pause
            return self._once(f"{reason}; it does not start again, and is tried until it does: {error}")
        self.check_at = time.monotonic() + CHECK_EVERY
        return f"{reason}; started again"

    def _once(self, news: str) -> str | None:
        """Return a message, unless one was printed since all was well."""
        if self._reported:
            return None
        self._reported = news
        return news


def supervise(
    server: LogServer, children: Sequence[Child], signals: Signals, console: Console, notifier: Notifier
) -> None:
    """Start again what ends or hangs, until a signal to stop. `notifier`: tells who supervises this process."""
    notifier.started()
    heard = [child.watchdog.socket for child in children if child.watchdog.socket is not None]
    while not signals.stop:
        check_all(server, children, console)
        notifier.live()  # once in `CHECK_EVERY` at least
        checks = [server.check_at, *(child.check_at for child in children)]
        signals.wait(max(0.0, min(checks) - time.monotonic()), heard)


def check_all(server: LogServer, children: Sequence[Child], console: Console) -> None:
    """Check each once, and print what happened."""
    for part in (server, *children):
        if news := part.check():
            print_line(console, (news, "red"))
