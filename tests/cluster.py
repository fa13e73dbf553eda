"""Three real nats-servers with users in a cluster, whose members can be killed, paused and started again."""

from __future__ import annotations

import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Self

from nats.errors import Error as NatsError
from nats.js import JetStreamContext, api

from bus import process
from bus.address import with_files
from bus.configuration import authorization, everybody
from bus.connection import Connection, connect
from bus.errors import Unavailable
from bus.identities import UNRESTRICTED
from bus.server import CREDENTIALS, binary, passwords_in
from bus.subjects import STREAM
from tests.ports import reserved_port
from tests.servers import ROOT
from tests.support import eventually

HOST = "127.0.0.1"
PASSWORD = "p@ss/w:rd,%"  # of `root`: what has to be escaped in a URL
ESCAPED = "p%40ss%2Fw%3Ard%2C%25"
READY = 30.0  # seconds

_CONFIG = """\
host: "{host}"
port: {port}
server_name: "{name}"
max_payload: 8MB
jetstream {{
  store_dir: "{folder}/{name}"
  sync_interval: always
}}
{authorization}
cluster {{
  name: "flows"
  listen: "{host}:{route}"
  authorization {{ user: "route", password: "route" }}
  routes: [{routes}]
}}
"""


class Member:
    """One server of the cluster."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.port = reserved_port()
        self.route = reserved_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> Path:
        return self.folder / f"{self.name}.conf"

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def configure(self, others: list[Member]) -> None:
        """Write the configuration."""
        passwords = passwords_in(self.folder / CREDENTIALS)
        users = everybody({user: f'"{password}"' for user, password in passwords.items()})
        routes = ", ".join(f'"nats://route:route@{HOST}:{other.route}"' for other in others)
        self.config.write_text(
            _CONFIG.format(
                host=HOST,
                port=self.port,
                name=self.name,
                folder=self.folder,
                authorization=authorization(users | {ROOT: (f'"{PASSWORD}"', UNRESTRICTED)}),
                route=self.route,
                routes=routes,
            )
        )

    def start(self) -> None:
        with (self.folder / f"{self.name}.log").open("ab") as output:
            self.process = process.spawn([binary(), "--config", str(self.config)], output=output)

    def signal(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill the server as a crash would, also a paused one."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def reload(self) -> None:
        self.signal(signal.SIGHUP)


class Cluster:
    """Three members on loopback; `url` names the first alone, the others are discovered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.members = [Member(name, folder) for name in ("one", "two", "three")]
        self._client: Connection | None = None

    async def __aenter__(self) -> Self:
        self.configure()
        for member in self.members:
            member.start()
        await self.ready()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.close()
        for member in self.members:
            member.kill()

    @property
    def url(self) -> str:
        """The first member, and the passwords of all parts."""
        return with_files(f"nats://{self.members[0].address}", credentials=str(self.folder / CREDENTIALS))

    @property
    def urls(self) -> str:
        """All members, and the passwords of all parts."""
        servers = ",".join(f"nats://{member.address}" for member in self.members)
        return with_files(servers, credentials=str(self.folder / CREDENTIALS))

    @property
    def root(self) -> str:
        """All members, for who may do everything, whose credentials stand with the first."""
        first, *others = (member.address for member in self.members)
        return ",".join([f"nats://{ROOT}:{ESCAPED}@{first}", *(f"nats://{other}" for other in others)])

    def configure(self) -> None:
        for member in self.members:
            member.configure(self.members)

    def member(self, name: str) -> Member:
        return next(member for member in self.members if member.name == name)

    async def ready(self) -> None:
        """Wait until JetStream takes a stream of three replicas; keep a connection for questions."""

        async def connected() -> Connection | None:
            with suppress(Unavailable):
                return await connect(self.root, "cluster")

        async def led() -> bool:
            try:
                await self.js.add_stream(name="READY", num_replicas=3, storage=api.StorageType.MEMORY)
                return await self.js.delete_stream("READY")
            except (TimeoutError, NatsError):
                return False

        self._client = await eventually(connected, within=READY)
        await eventually(led, within=READY)

    @property
    def client(self) -> Connection:
        assert self._client
        return self._client

    @property
    def js(self) -> JetStreamContext:
        return self.client.jetstream(timeout=2)

    async def leader(self, stream: str = STREAM) -> Member | None:
        """Return who leads a stream just now, nobody when there is no leader or no answer."""
        try:
            info = await self.js.stream_info(stream)
        except (TimeoutError, NatsError):
            return None
        return self.member(info.cluster.leader) if info.cluster and info.cluster.leader else None
