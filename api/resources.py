"""The resources that an API process holds open."""

from __future__ import annotations

from collections.abc import Sequence

from litestar.di import NamedDependency

from api.broadcast import Broadcaster
from api.commands import CommandClient
from api.files import Files
from api.readmodel.overdue import Overdue
from api.readmodel.reader import ReadModel
from bus.log import Log


class Resources:
    """What an API process holds open. `own`: the folders and files of the engine, as far as it knows them."""

    def __init__(
        self,
        log: Log,
        commands: CommandClient,
        reader: ReadModel,
        broadcaster: Broadcaster,
        *,
        own: Sequence[str] = (),
    ) -> None:
        self.log = log
        self.commands = commands
        self.reader = reader
        self.broadcaster = broadcaster
        self.own = own
        self.files = Files()
        self.overdue = Overdue()


AppResources = NamedDependency[Resources]
