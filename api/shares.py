"""What one client may use of an API process at the same time, so that others are served too."""

from __future__ import annotations

from collections import Counter

from litestar.types import ASGIApp, Receive, Scope, Send

from api.problems import too_many
from api.rates import Limiter, Rate

RATE = Rate(per_second=500, burst=2_000)
MOST_IN_FLIGHT = 100  # requests of one identity that are not answered yet
UNCOUNTED = "uncounted"  # the option of a route whose responses do not end, and have a limit of their own
KEY = "share"  # in a request's scope: as whose it is counted


class Shares:
    """Counts requests by identity: those in flight, and how many come. `now` is in seconds."""

    def __init__(self, rate: Rate = RATE, most_in_flight: int = MOST_IN_FLIGHT) -> None:
        self._rate = rate
        self._most = most_in_flight
        self._limiter = Limiter(rate)
        self._in_flight: Counter[str] = Counter()

    def enter(self, who: str, now: float, *, counted: bool = True) -> None:
        """Begin a request; with `counted` it is in flight until `leave`. Raises 429 when it is one too many."""
        if counted and self._in_flight[who] >= self._most:
            raise too_many(f"more requests of {who} are in flight than one client may have ({self._most})", 1)
        if seconds := self._limiter.take(who, now):
            raise too_many(f"more than {self._rate.per_second:.0f} requests a second have come from {who}", seconds)
        if counted:
            self._in_flight[who] += 1

    def leave(self, who: str) -> None:
        """End a request that was counted."""
        self._in_flight[who] -= 1
        if not self._in_flight[who]:
            del self._in_flight[who]


def shared(app: ASGIApp) -> ASGIApp:
    """Wrap routes: a request that the guard has counted is in flight until its response has ended, however it does."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        finally:
            if (who := scope.get(KEY)) is not None:
                shares: Shares = scope["litestar_app"].state.shares
                shares.leave(str(who))

    return wrapped
