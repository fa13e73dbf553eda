"""The parts that an API process holds open."""

from __future__ import annotations

from litestar.di import NamedDependency

from api.feed import Feed
from api.gateway import Gateway
from api.readmodel.reading import Reading
from bus.log import Log


class Parts:
    """What an API process holds open, and how many backups may be in flight in all."""

    def __init__(self, log: Log, gateway: Gateway, reading: Reading, feed: Feed, total_limit: int | None) -> None:
        self.log = log
        self.gateway = gateway
        self.reading = reading
        self.feed = feed
        self.total_limit = total_limit


AtParts = NamedDependency[Parts]
