"""The resources that an API process holds open."""

from __future__ import annotations

from litestar.di import NamedDependency

from api.broadcast import Broadcaster
from api.commands import CommandClient
from api.readmodel.reader import ReadModel
from bus.log import Log


class Resources:
    """What an API process holds open."""

    def __init__(self, log: Log, commands: CommandClient, reader: ReadModel, broadcaster: Broadcaster) -> None:
        self.log = log
        self.commands = commands
        self.reader = reader
        self.broadcaster = broadcaster


AppResources = NamedDependency[Resources]
