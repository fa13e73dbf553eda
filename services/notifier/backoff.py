"""Backoff: how long to wait before a message is tried again. Pure: chance is an argument."""

from __future__ import annotations

from schemas.base import Value


class Backoff(Value, frozen=True, kw_only=True):
    """Pauses that double from `first` up to `longest`, in seconds."""

    first: float = 5.0
    longest: float = 600.0

    def pause(self, attempt: int, chance: float) -> float:
        """Return the seconds to wait after attempt `attempt` (from 1): the last half of the pause is left to `chance`.

        `chance` is from 0 up to 1. So what failed together is not tried together again.
        """
        whole = min(self.longest, self.first * 2.0 ** min(attempt - 1, 60))
        return whole * (0.5 + chance / 2)
