"""How many connections there may be, and which one is closed when there are too many. Pure, but for the descriptors."""

from __future__ import annotations

import resource
from collections.abc import Hashable
from typing import Generic, TypeVar

from schemas.base import Value

RESERVE = 100  # descriptors that are not for connections: the log's, the database's, files
MOST = 4_000  # connections, however many descriptors there are

T = TypeVar("T", bound=Hashable)


class Limits(Value, frozen=True, kw_only=True):
    """Connections in all and from one address, and those that may wait to be accepted at the same moment."""

    total: int
    per_address: int
    backlog: int


def limits_of(descriptors: int) -> Limits:
    """Return the limits of a process that may have so many descriptors open."""
    free = max(8, descriptors - RESERVE)
    total = min(MOST, free * 3 // 4)
    return Limits(total=total, per_address=total // 2, backlog=min(MOST, free) // 4)


def descriptors() -> int:
    """Allow this process as many descriptors as it can use, if it may, and return how many it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST * 4 // 3 + RESERVE + 1
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


class ConnectionLimiter(Generic[T]):
    """Connections by address. Beyond a limit the one that has been idle longest makes room for the one that comes.

    So whoever opens connections and sends no request on them cannot lock others out, not even at the same address.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._addresses: dict[T, str] = {}
        self._numbers: dict[str, int] = {}  # by address
        self._idle: dict[str, dict[T, None]] = {}  # by address; the one that has been idle longest is the first

    def __len__(self) -> int:
        return len(self._addresses)

    def add(self, connection: T, address: str) -> T | None:
        """Take in a connection, idle. Return the one to close for it: none, an idle one, or itself, which is not in."""
        closed: T | None = None
        if self._numbers.get(address, 0) >= self._limits.per_address:
            closed = self._longest_idle(address, connection)
        elif len(self) >= self._limits.total:
            crowded = max((one for one, idle in self._idle.items() if idle), key=self._numbers.__getitem__, default="")
            closed = self._longest_idle(crowded, connection)
        if closed is connection:
            return closed
        if closed is not None:
            self.remove(closed)
        self._addresses[connection] = address
        self._numbers[address] = self._numbers.get(address, 0) + 1
        self._idle.setdefault(address, {})[connection] = None
        return closed

    def busy(self, connection: T) -> None:
        """Note that a request has begun."""
        if (address := self._addresses.get(connection)) is not None:
            self._idle[address].pop(connection, None)

    def idle(self, connection: T) -> None:
        """Note that its response is complete."""
        if (address := self._addresses.get(connection)) is not None:
            self._idle[address].pop(connection, None)
            self._idle[address][connection] = None

    def remove(self, connection: T) -> None:
        """Let go of a connection, if it is in."""
        if (address := self._addresses.pop(connection, None)) is None:
            return
        self._idle[address].pop(connection, None)
        self._numbers[address] -= 1
        if not self._numbers[address]:
            del self._numbers[address], self._idle[address]

    def _longest_idle(self, address: str, default: T) -> T:
        return next(iter(self._idle.get(address, ())), default)
