"""The parts that an API process holds open."""

from __future__ import annotations

from litestar.di import NamedDependency

from api.gateway import Gateway
from api.readmodel.reading import Reading
from bus.log import Log


class Parts:
    """The log, the gateway onto it, and the reader of the tables."""

    def __init__(self, log: Log, gateway: Gateway, reading: Reading) -> None:
        self.log = log
        self.gateway = gateway
        self.reading = reading


AtParts = NamedDependency[Parts]
