"""How often something may be done: so many at once, and again as time passes. A rate of each key, in bounded memory."""

from __future__ import annotations

from schemas.base import Value

MOST_KEYS = 10_000  # with a rate of their own at the same time; those beyond share one
OTHERS = ""
SWEEP = 1.0  # seconds between two looks for keys that can be forgotten


class Rate(Value, frozen=True):
    """`burst` at once, and `per_second` from then on."""

    per_second: float
    burst: int

    @property
    def interval(self) -> float:
        """Seconds from one to the next."""
        return 1 / self.per_second


class Limiter:
    """Counts by key what is done. Times are in seconds, of any clock.

    It is the generic cell rate algorithm (ITU-T I.371): of each key one instant is kept, at which all of its burst is
    there again.
    """

    def __init__(self, rate: Rate, most_keys: int = MOST_KEYS) -> None:
        self._interval = rate.interval
        self._span = rate.interval * rate.burst
        self._most = most_keys
        self._full_at: dict[str, float] = {}
        self._swept = float("-inf")

    def wait(self, key: str, now: float) -> float:
        """Return for how many seconds no more may be done; 0: one may be now."""
        return max(0.0, self._full(self._counted_as(key, now), now) + self._interval - self._span - now)

    def count(self, key: str, now: float) -> None:
        """Count one that may be done."""
        key = self._counted_as(key, now)
        self._full_at[key] = self._full(key, now) + self._interval

    def take(self, key: str, now: float) -> float:
        """Count one when it may be done. Return what `wait` did."""
        seconds = self.wait(key, now)
        if not seconds:
            self.count(key, now)
        return seconds

    def __len__(self) -> int:
        return len(self._full_at)

    def _counted_as(self, key: str, now: float) -> str:
        """Return the key itself; or what it shares with others, when it is new and there are too many."""
        if key in self._full_at or len(self._full_at) < self._most:
            return key
        self._sweep(now)
        return key if len(self._full_at) < self._most else OTHERS

    def _full(self, key: str, now: float) -> float:
        # a clock that was set back must not make anybody wait for longer than a burst takes
        return min(max(self._full_at.get(key, now), now), now + self._span)

    def _sweep(self, now: float) -> None:
        """Forget those that have all of their burst; not more often than now and then, as it looks at all."""
        if now - self._swept >= SWEEP or now < self._swept:
            self._swept = now
            self._full_at = {key: at for key, at in self._full_at.items() if at > now}
