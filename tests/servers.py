"""nats-servers for tests: with the engine's users, and with one more, who may do everything.

Services run as their own users. A test that plays the part of all others, or forges something, asks for `root`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bus.identities import UNRESTRICTED
from bus.server import Server

ROOT = "root"


def server_in(folder: Path, **options: Any) -> Server:
    """Return a server, not started, that also knows `root`."""
    return Server(folder, more={ROOT: UNRESTRICTED}, **options)


def root(server: Server) -> str:
    """Return the address for who may do everything."""
    return server.url_of(ROOT)
