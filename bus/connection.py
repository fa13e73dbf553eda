"""How every process connects to NATS. The client's defaults give up, or notice nothing for minutes; these do not."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.errors import ServiceUnavailableError

from bus.address import parse_url, without_password
from bus.consumers import create_one_of
from bus.errors import Unavailable
from bus.identities import OPERATOR, USERS, consumers_of, enrolled
from bus.subjects import matches
from bus.tasks import cancel_and_wait
from schemas.workers import worker_of

log = logging.getLogger(__name__)

REFUSALS = 3  # in a row, until the credentials count as wrong: a cluster may have one server that is set up wrongly
REFUSALS_OF_ENROLLED = 20  # … of an enrolled worker: nobody is there to vouch for it while the set-up is restarted
CHECK_EVERY = 1.0  # seconds between checks whether the client still tries
CLOSED_PAUSE = 0.1  # seconds before a publish on a closed connection fails
FETCH_PAUSE = 0.5  # seconds before a fetch fails that nobody in the server replies to

_REFUSAL = ("authorization violation", "authorization failed", "authentication expired", "authentication revoked")


class _Fetching(JetStreamContext):
    """nats-py's JetStream, with subscriptions that do not fail at once, again and again."""

    def __init__(self, connection: Connection, **options: Any) -> None:
        super().__init__(connection, **options)
        self._connection = connection

    async def pull_subscribe(self, *args: Any, **options: Any) -> JetStreamContext.PullSubscription:
        """Subscribe, with a pause before the error when the consumer is gone, or the server has no JetStream now.

        FastStream fetches in a loop that goes on after this error: thousands of times a second. A queue is never made
        here: that is the set-up's.
        """
        if durable := options.get("durable"):
            subscription = await self.pull_subscribe_bind(durable, stream=options["stream"])
        elif names := self._connection.consumers:
            consumer = await create_one_of(self._asked, names, options["stream"], options["config"])
            subscription = await self.pull_subscribe_bind(stream=options["stream"], consumer=consumer)
        else:
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

    async def _asked(self, subject: str, body: bytes) -> dict[str, Any]:
        return await self._api_request(subject, body, timeout=self._timeout)


class Connection(Client):
    """nats-py's client, with an end that is noticed."""

    def __init__(self) -> None:
        super().__init__()
        self.user = ""
        self.leaving = False  # closed by whoever opened it
        self.refusals = 0  # of our credentials, since they were last accepted
        self.patience = REFUSALS  # refusals until they count as wrong
        self.consumers: Sequence[str] = ()  # the names that its consumers may have; none: any
        self.denied: str | None = None  # what the server does not permit, and was wanted
        self.watch: asyncio.Task[None] | None = None
        self.helpers: set[asyncio.Task[None]] = set()

    async def publish(self, *args: Any, **options: Any) -> None:
        """Publish, with a pause before the error when the connection is closed.

        FastStream requests messages in a loop that awaits nothing else: nothing in the process would ever run again.
        """
        if self.is_closed:
            await asyncio.sleep(CLOSED_PAUSE)
        await super().publish(*args, **options)

    def jetstream(self, **options: Any) -> JetStreamContext:
        return _Fetching(self, **options)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """Take in what a server says of itself. One without TLS gets no password from who knows a CA."""
        if initial_connection and "tls" in self.options and not info.get("tls_required"):
            raise NatsError("nats: the server has no TLS, and FLOWS_NATS_CA says that it must")
        await super()._process_info(info, initial_connection)

    async def _process_connect_init(self) -> None:
        """Greet a server. After a TLS that failed nobody waits for the socket's end: it would never be reported."""
        try:
            await super()._process_connect_init()
        except (ssl.SSLError, TimeoutError):
            if (transport := self._transport) is not None:
                transport.wait_closed = _at_once
            raise

    async def close(self) -> None:
        self.leaving = True
        await super().close()
        trying = self._reconnection_task
        if trying is not None and trying is not asyncio.current_task():
            await cancel_and_wait(trying)  # the client cancels it once, which it may swallow

    async def close_denied(self) -> None:
        """Close, and let whoever waits for a reply go; it counts as an end."""
        await super().close()
        waiting: list[asyncio.Future[Msg]] = [*self._resp_map.values()]  # pyright: ignore[reportUnknownMemberType]
        for reply in waiting:
            if not reply.done():
                reply.set_exception(ConnectionClosedError())
                reply.exception()  # of a request that was not even sent nobody asks for it, and asyncio logs that

    async def drain(self) -> None:
        self.leaving = True
        await super().drain()

    @property
    def end(self) -> str | None:
        """Why there is no connection and will not be one again; nothing while there is hope."""
        if self.denied:
            return self.denied
        if self.is_closed:
            return _clear(self.last_error, self.user) if self.last_error else "it was closed"
        if self.refusals >= self.patience and self.last_error:
            return _clear(self.last_error, self.user)
        trying = self._reconnection_task
        if not self.is_connected and trying is not None and trying.done():
            failure = None if trying.cancelled() else trying.exception()
            return _clear(failure, self.user) if failure else "the client has stopped trying"
        return None


async def _at_once() -> None:
    pass


async def connect(
    url: str, name: str, *, user: str | None = None, on_closed: Callable[[], Awaitable[None]] | None = None
) -> Connection:
    """Return a connection to the server, or cluster, at `url` for a part called `name`; it is re-made for ever.

    `user`: whose credentials are used when `url` has none; a part's own, and the operator's for what is no part.
    `on_closed` is awaited when that comes to an end, other than by closing it. What the server does not permit ends it
    too: whoever asked would wait for nothing. Raises `Unavailable` when no server accepts us within some seconds,
    `ValueError` when `url` is none.
    """
    target = parse_url(url)
    credentials = target.of(user or (name if name in USERS else OPERATOR))
    who = str(credentials.get("user", name))
    connection = Connection()
    connection.user = who
    if (worker := worker_of(who)) is not None:
        connection.consumers, connection.patience = consumers_of(worker), REFUSALS_OF_ENROLLED
    failures: list[Exception] = []
    connected = False
    closed = asyncio.Event()

    async def failed(error: Exception) -> None:
        if connected:
            log.warning("%s", _clear(error, who), extra={"action": "nats_error", "part": name})
            connection.refusals += _is_refusal(error)
            if _is_denial(error) and connection.denied is None:
                connection.denied = _clear(error, who)
                closing = asyncio.create_task(connection.close_denied())  # this one is the reader's own, which ends
                connection.helpers.add(closing)
                closing.add_done_callback(connection.helpers.discard)
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
            **credentials,
            name=name,
            inbox_prefix=f"_INBOX.{who}",
            tls=_tls(target.ca),
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
        reason = _clear(refused or (failures[0] if failures else error), who)
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


def worker_name() -> str:
    """Return a name for this process that an operator can find: host and process id."""
    return f"{os.uname().nodename}-{os.getpid()}"


def _is_refusal(error: BaseException) -> bool:
    return any(sign in str(error).lower() for sign in _REFUSAL)


def _is_denial(error: BaseException) -> bool:
    """Tell whether the server does not permit something; a reply that comes too late for whoever asked is none."""
    text = str(error).lower()
    return "permissions violation" in text and "_inbox." not in text


def _tls(ca: str | None) -> ssl.SSLContext | None:
    """Return what servers are verified by: the CA alone. Raises `Unavailable` when it cannot be read."""
    if ca is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Unavailable(f"cannot read FLOWS_NATS_CA, the certificate of the CA of NATS: {ca}: {reason}") from error


def _clear(error: BaseException, user: str = "") -> str:
    """Return what an error of the client means, for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the server's certificate is not to be trusted ({error.verify_message}): is FLOWS_NATS_CA the CA that "
            "signed it, and the name in FLOWS_NATS_URL one of those in it?"
        )
    text = str(error).removeprefix("nats: ").strip("'") or type(error).__name__
    if (worker := worker_of(user)) is not None and (said := _about_enrolled(worker, error, text)):
        return said
    if _is_refusal(error):
        return (
            f"NATS refuses the user or password ({text}): check those in FLOWS_NATS_URL or FLOWS_NATS_CREDENTIALS. "
            "Are they another cluster's?"
        )
    if "permissions violation" in text.lower():
        return (
            f"NATS does not permit its user {user!r} this ({text}): run each part as its own user, and the server with "
            "the nats.conf of this version"
        )
    return f"NATS: {text}"


def _about_enrolled(worker: str, error: BaseException, text: str) -> str | None:
    """Return what an error means to an enrolled worker, None when that is nothing of its own."""
    if _is_refusal(error):
        return (
            f"NATS does not let worker {worker!r} in ({text}): this engine has not enrolled it with this secret, or no "
            "`flows serve setup` runs, which would know. Ask an administrator: `flows workers` shows who is enrolled"
        )
    denied = re.search(r'permissions violation for (?:publish|subscription) to "(.*)"', text.lower())
    permitted = enrolled(worker, {})
    if denied and any(matches(one.lower(), denied[1]) for one in (*permitted.publish, *permitted.subscribe)):
        return (
            f"worker {worker!r} was revoked, and may do nothing here any more. Ask an administrator: "
            "`flows worker token create` lets this machine be enrolled anew, under another name"
        )
    return None
