"""The client's errors, turned into ours in one place."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import msgspec
from nats.errors import ConnectionClosedError, NoRespondersError, OutboundBufferLimitError
from nats.js.errors import Error as JetStreamError

from bus.errors import Conflict, Duplicate, LogError, Unavailable

# What the client raises when the server does not reply, or refuses. Its own TimeoutError is one of asyncio's.
SILENCE = (JetStreamError, TimeoutError, NoRespondersError, ConnectionClosedError, OutboundBufferLimitError)

_WRONG_SEQUENCE = {10071, 10164}
_DUPLICATE = 10201


@contextmanager
def unavailable(what: str = "the log") -> Generator[None]:
    """Raise `Unavailable` for what the client raises in here, which is a read."""
    try:
        yield
    except (*SILENCE, msgspec.MsgspecError) as error:
        raise Unavailable(f"{what} does not respond: {error or type(error).__name__}") from error


def refusal(code: int | None, description: str) -> LogError:
    """Return the error that the server's refusal of an append is."""
    if code in _WRONG_SEQUENCE:
        return Conflict(description)
    if code == _DUPLICATE:
        return Duplicate(description)
    return Unavailable(f"the log refused the message: {description} ({code})")
