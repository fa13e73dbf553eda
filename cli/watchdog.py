"""Hears whether a child process lives, as systemd does with `WatchdogSec=` (sd_notify(3)).

The child gets the address of a socket in NOTIFY_SOCKET, and a limit in WATCHDOG_USEC. What it sends there is a sign of
life. Only on Linux: elsewhere there are no addresses that vanish with their process, and nobody counts as silent.
"""

from __future__ import annotations

import socket
import sys
from contextlib import suppress

STARTING = 60.0  # seconds that a child may be silent before it has started
SILENCE = 20.0  # seconds that it may be silent afterwards
PAUSED = 10.0  # seconds between two looks, from which on the supervisor itself was paused: a laptop that slept


class Watchdog:
    """The signs of life of one child. Times are on the monotonic clock, in seconds."""

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        if sys.platform == "linux":
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            self.socket.bind("")  # the kernel chooses an address
        self.started = False
        self._heard = self._looked = 0.0

    @property
    def environment(self) -> dict[str, str]:
        """The variables that a child needs."""
        if self.socket is None:
            return {}
        address = self.socket.getsockname().decode().replace("\0", "@")
        return {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": f"{SILENCE * 1e6:.0f}"}

    def begin(self, now: float) -> None:
        """Wait for a new child's signs of life."""
        self._hear()  # what the one before has said
        self.started = False
        self._heard = self._looked = now

    def silent(self, now: float) -> bool:
        """Tell whether the child has been silent for too long. To be asked every few seconds."""
        messages = self._hear()
        if messages or now - self._looked > PAUSED:
            self._heard = now
        self.started |= any("READY=1" in message.split("\n") for message in messages)
        self._looked = now
        return now >= self.due

    @property
    def limit(self) -> float:
        """The seconds that the child may be silent now."""
        return SILENCE if self.started else STARTING

    @property
    def due(self) -> float:
        """When the child will have been silent for too long."""
        return self._heard + self.limit if self.socket is not None else float("inf")

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()

    def _hear(self) -> list[str]:
        """Return what has been sent since."""
        messages: list[str] = []
        with suppress(BlockingIOError):
            while self.socket is not None:
                messages.append(self.socket.recv(4096).decode(errors="replace"))
        return messages
