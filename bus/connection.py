"""How every process connects to NATS. The client's defaults give up, or notice nothing for minutes; these do not."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import ServiceUnavailableError

from bus.errors import Unavailable
from bus.tasks import cancel_and_wait
from schemas.base import Value

log = logging.getLogger(__name__)

REFUSALS = 3  # in a row, until the credentials count as wrong: a cluster may have one server that is set up wrongly
CHECK_EVERY = 1.0  # seconds between checks whether the client still tries
CLOSED_PAUSE = 0.1  # seconds before a publish on a closed connection fails
FETCH_PAUSE = 0.5  # seconds before a fetch fails that nobody in the server replies to

_FORM = "write nats://user:password@host:port, or several with commas; in a password, @ : / , as %40 %3A %2F %2C"
_SCHEMES = {"nats", "tls", "ws", "wss"}
_REFUSAL = ("authorization violation", "authorization failed", "authentication expired", "authentication revoked")


class Address(Value, frozen=True, kw_only=True):
    """Where servers are, and the credentials for these and for all others of their cluster."""

    servers: list[str]
    credentials: dict[str, Any]


class _Fetching(JetStreamContext):
    """nats-py's JetStream, with subscriptions that do not fail at once, again and again."""

    async def pull_subscribe(self, *args: Any, **options: Any) -> JetStreamContext.PullSubscription:
        """Subscribe, with a pause before the error when the consumer is gone, or the server has no JetStream now.

        FastStream fetches in a loop that goes on after this error: thousands of times a second.
        """
        subscription = await super().pull_subscribe(*args, **options)
        fetch = subscription.fetch

        async def patiently(*args: Any, **options: Any) -> list[Msg]:
            try:
                return await fetch(*args, **options)
            except ServiceUnavailableError:
                await asyncio.sleep(FETCH_PAUSE)
                raise

        subscription.fetch = patiently  # the client makes the subscription, of a class that cannot be chosen
        return subscription


class Connection(Client):
    """nats-py's client, with an end that is noticed."""

    def __init__(self) -> None:
        super().__init__()
        self.leaving = False  # closed by whoever opened it
        self.refusals = 0  # of our credentials, since they were last accepted
        self.watch: asyncio.Task[None] | None = None

    async def publish(self, *args: Any, **options: Any) -> None:
        """Publish, with a pause before the error when the connection is closed.

        FastStream requests messages in a loop that awaits nothing else: nothing in the process would ever run again.
        """
        if self.is_closed:
            await asyncio.sleep(CLOSED_PAUSE)
        await super().publish(*args, **options)

    def jetstream(self, **options: Any) -> JetStreamContext:
        return _Fetching(self, **options)

    async def close(self) -> None:
        self.leaving = True
        await super().close()
        trying = self._reconnection_task
        if trying is not None and trying is not asyncio.current_task():
            await cancel_and_wait(trying)  # the client cancels it once, which it may swallow

    async def drain(self) -> None:
        self.leaving = True
        await super().drain()

    @property
    def end(self) -> str | None:
        """Why there is no connection and will not be one again; nothing while there is hope."""
        if self.is_closed:
            return _clear(self.last_error) if self.last_error else "it was closed"
        if self.refusals >= REFUSALS and self.last_error:
            return _clear(self.last_error)
        trying = self._reconnection_task
        if not self.is_connected and trying is not None and trying.done():
            failure = None if trying.cancelled() else trying.exception()
            return _clear(failure) if failure else "the client has stopped trying"
        return None


async def connect(url: str, name: str, *, on_closed: Callable[[], Awaitable[None]] | None = None) -> Connection:
    """Return a connection to the server, or cluster, at `url` for a part called `name`; it is re-made for ever.

    `on_closed` is awaited when that comes to an end, other than by closing it. Raises `Unavailable` when no server
    accepts us within some seconds, `ValueError` when `url` is none.
    """
    target = parse_url(url)
    connection = Connection()
    failures: list[Exception] = []
    connected = False
    closed = asyncio.Event()

    async def failed(error: Exception) -> None:
        if connected:
            log.warning("%s", _clear(error), extra={"action": "nats_error", "part": name})
            connection.refusals += _is_refusal(error)
        else:
            failures.append(error)

    async def reconnected() -> None:
        connection.refusals = 0
        log.info("connected to NATS again", extra={"action": "nats_reconnected", "part": name})

    async def set_closed() -> None:
        closed.set()

    try:
        # the first connection fails fast with its reason; later ones are re-made for ever
        await connection.connect(  # pyright: ignore[reportUnknownMemberType]
            target.servers,
            **target.credentials,
            name=name,
            inbox_prefix=f"_INBOX.{name}",
            max_reconnect_attempts=1,
            reconnect_time_wait=1,
            connect_timeout=5,
            # a half-open link is noticed after 20 s instead of six minutes
            ping_interval=10,
            max_outstanding_pings=2,
            error_cb=failed,
            reconnected_cb=reconnected,
            closed_cb=set_closed,
        )
    except (OSError, NatsError) as error:
        refused = next(filter(_is_refusal, failures), None)
        reason = _clear(refused or (failures[0] if failures else error))
        advice = "" if refused else ". Is the server running?"
        raise Unavailable(f"cannot reach NATS at {without_password(url)}: {reason}{advice}") from error
    connected = True
    connection.options["max_reconnect_attempts"] = -1
    if on_closed is not None:
        connection.watch = asyncio.create_task(_watch(connection, closed, on_closed), name=f"connection of {name}")
    return connection


async def _watch(connection: Connection, closed: asyncio.Event, on_closed: Callable[[], Awaitable[None]]) -> None:
    """Wait for the end of a connection. The client reports some ends only; the others are checked for."""
    while (reason := connection.end) is None:
        with suppress(TimeoutError):
            await asyncio.wait_for(closed.wait(), CHECK_EVERY)
    if not connection.leaving:
        log.error("the connection to NATS has ended: %s", reason, extra={"action": "nats_ended"})
        await on_closed()


def parse_url(url: str) -> Address:
    """Return the servers and credentials of a URL, or of several with commas between.

    Raises `ValueError` without the password in it.
    """
    servers: list[str] = []
    users: list[tuple[str, str | None]] = []
    for one in url.split(","):
        scheme, separator, rest = one.strip().rpartition("://")
        try:
            parts = urlsplit(f"{scheme or 'nats'}://{rest}")
            place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
            valid = parts.scheme in _SCHEMES and parts.hostname and parts.port != 0
        except ValueError:  # its text has a part of the URL in it
            raise ValueError(f"{without_password(url)!r} is no address of NATS: {_FORM}") from None
        if not valid or parts.path.strip("/") or parts.query or parts.fragment or (separator and not scheme):
            raise ValueError(f"{without_password(url)!r} is no address of NATS: {_FORM}")
        servers.append(place)
        if parts.username is not None:
            users.append((unquote(parts.username), None if parts.password is None else unquote(parts.password)))
    if len(set(users)) > 1:
        raise ValueError(f"{without_password(url)!r} has more than one user or password: a cluster has the same on all")
    if not users:
        return Address(servers=servers, credentials={})
    user, password = users[0]
    return Address(
        servers=servers, credentials={"token": user} if password is None else {"user": user, "password": password}
    )


def without_password(url: str) -> str:
    """Return a URL, or several with commas between, that may be shown."""
    shown: list[str] = []
    for one in url.split(","):
        scheme, separator, rest = one.rpartition("://")
        shown.append(f"{scheme}{separator}{rest.rpartition('@')[2]}")
    return ",".join(shown)


def worker_name() -> str:
    """Return a name for this process that an operator can find: host and process id."""
    return f"{os.uname().nodename}-{os.getpid()}"


def _is_refusal(error: BaseException) -> bool:
    return any(sign in str(error).lower() for sign in _REFUSAL)


def _clear(error: BaseException) -> str:
    """Return what an error of the client means, for people."""
    text = str(error).removeprefix("nats: ").strip("'") or type(error).__name__
    if _is_refusal(error):
        return f"NATS refuses the user or password ({text}): check those in FLOWS_NATS_URL"
    if "permissions violation" in text.lower():
        return f"NATS does not permit its user this ({text}): check the permissions in the server's configuration"
    return f"NATS: {text}"
