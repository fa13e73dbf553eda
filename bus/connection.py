"""How everybody connects to NATS. The client's defaults give up, or notice nothing for minutes; these do not."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from typing import Any

import nats
from nats.aio.client import Client
from nats.errors import Error as NatsError

from bus.errors import Unavailable

log = logging.getLogger(__name__)


def options(name: str, *, on_closed: Callable[[], Awaitable[None]] | None = None) -> dict[str, Any]:
    """Return connection options for a part called `name`; `on_closed` is awaited when it is closed for good."""

    async def failed(error: Exception) -> None:
        log.warning("nats client: %s", error or type(error).__name__, extra={"action": "nats_error", "part": name})

    async def closed() -> None:
        if on_closed is not None:
            await on_closed()

    return {
        "name": name,
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": 1,
        "connect_timeout": 5,
        # a half-open link is noticed after 20 s instead of six minutes
        "ping_interval": 10,
        "max_outstanding_pings": 2,
        "inbox_prefix": f"_INBOX.{name}",
        "error_cb": failed,
        "closed_cb": closed,
    }


async def connect(url: str, name: str, *, on_closed: Callable[[], Awaitable[None]] | None = None) -> Client:
    """Return a connection to the server at `url`. Raises `Unavailable` when it does not answer within some seconds."""
    settings = options(name, on_closed=on_closed)
    failures: list[Exception] = []
    log_failure = settings["error_cb"]

    async def failed(error: Exception) -> None:
        failures.append(error)
        await log_failure(error) if connected else None

    # the first connection fails fast and says so; later ones are re-made for ever
    connected = False
    try:
        client = await nats.connect(  # pyright: ignore[reportUnknownMemberType]
            url, **{**settings, "error_cb": failed, "max_reconnect_attempts": 1}
        )
    except (OSError, NatsError) as error:
        reason = str(failures[0] if failures else error)
        raise Unavailable(f"cannot reach NATS at {without_password(url)}: {reason}. Is the server running?") from error
    connected = True
    client.options["max_reconnect_attempts"] = -1
    return client


def without_password(url: str) -> str:
    """Return a URL that may be shown."""
    scheme, separator, rest = url.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def worker_name() -> str:
    """Return a name for this process that an operator can find: host and process id."""
    return f"{os.uname().nodename}-{os.getpid()}"
