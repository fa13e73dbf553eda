"""How many live streams may be open, in all and for one address: each holds memory for as long as it lasts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from litestar.types import ASGIApp, Receive, Scope, Send

from api.problems import ApiError
from api.refusals import address_of

RETRY = {"Retry-After": "10"}


class Streams:
    """The live streams that are open."""

    def __init__(self, *, total: int, per_address: int) -> None:
        self._total = total
        self._per_address = per_address
        self._open: Counter[str] = Counter()

    @contextmanager
    def opened(self, host: str | None) -> Iterator[None]:
        """Count one for as long as it lasts. Raises 503 and 429 when it would be one too many."""
        address = address_of(host)
        if self._open.total() >= self._total:
            raise ApiError(
                503, f"{self._total} live streams are open, and no more may be: try again later", headers=RETRY
            )
        if self._open[address] >= self._per_address:
            detail = f"{self._per_address} live streams from {address} are open, and no more may be: close one, or wait"
            raise ApiError(429, detail, headers=RETRY)
        self._open[address] += 1
        try:
            yield
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]


def counted(app: ASGIApp) -> ASGIApp:
    """Wrap a route that streams: around all of it, as a response that is never begun has no end of its own."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        streams: Streams = scope["litestar_app"].state.streams
        client = scope["client"]
        with streams.opened(client[0] if client else None):
            await app(scope, receive, send)

    return wrapped
