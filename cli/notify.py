"""Tells a supervisor that this process has started and lives, as systemd expects it from `Type=notify` (sd_notify(3)).

For health checks of containers, which ask from outside, it touches a file as long as that is so.

It comes from the event loop: a process that is stopped, or stands still, says nothing.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

from cli.settings import Watchdog

STARTING = 60.0  # seconds that a start may last from each of its signs of life on
EVERY = 5.0  # seconds between signs of life, when the supervisor sets no limit


class Notifier:
    """Notifies the supervisor at a socket, and touches `alive_file`; without either it does nothing."""

    def __init__(self, watchdog: Watchdog, alive_file: Path | None = None) -> None:
        self._address = watchdog.address
        self._alive_file = alive_file
        self._every = EVERY if watchdog.seconds is None else watchdog.seconds / 4
        self._started = False

    async def run(self) -> None:
        """Give signs of life until cancelled."""
        import asyncio  # not for a supervisor, which lives as long as the engine

        while self._address or self._alive_file:
            self.live()
            await asyncio.sleep(self._every)

    def live(self) -> None:
        """Give one sign of life."""
        # a start may take long, on a long log: as long as it advances it is given time
        starting = "" if self._started else f"\nEXTEND_TIMEOUT_USEC={STARTING * 1e6:.0f}"
        self._send(f"WATCHDOG=1{starting}")
        self._touch()

    def started(self) -> None:
        """Say that all parts of this process have started."""
        self._started = True
        self._send("READY=1")
        self._touch()

    def _touch(self) -> None:
        if self._started and self._alive_file is not None:
            with suppress(OSError):  # whoever looks at it then finds that nothing is well
                self._alive_file.touch()

    def _send(self, text: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            with suppress(OSError):  # a supervisor that is gone, or does not read now, is no reason to stop
                sender.sendto(text.encode(), address)
