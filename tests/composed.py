"""What compose.yaml says, as plain processes on this machine: the same commands, environment, secrets and counts.

Names of hosts become addresses on loopback, `/run/secrets` the folder of secrets, and each replica of the API gets a
port of its own, in place of the proxy.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx
import psycopg

from bus import process
from bus.address import with_files
from bus.server import binary
from tests.composition import FILE, composition, is_ours, replicas, seconds, variables
from tests.ports import reserved_port
from tests.running import ROOT, Client
from tests.support import wait_until

START = 90.0  # seconds: generous, as other tests run beside it


class Part:
    """One process: a replica of a service. `grace`: seconds that it has to end."""

    def __init__(self, name: str, command: list[str], env: Mapping[str, str], log: Path, grace: float) -> None:
        self.name, self.command, self.log, self.grace = name, command, log, grace
        self.env = {"PATH": os.environ["PATH"], "HOME": str(log.parent), **env}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if alive := self.env.get("FLOWS_ALIVE_FILE"):
            Path(alive).unlink(missing_ok=True)
        with self.log.open("ab") as output:
            self.process = process.spawn(self.command, output=output, env=self.env)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def terminate(self) -> None:
        """Ask it to end."""
        assert self.process
        self.process.terminate()

    def wait(self) -> int:
        """Wait until it has ended, and return its exit code."""
        assert self.process
        return self.process.wait(self.grace)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def said(self) -> str:
        return self.log.read_text(errors="replace")


class Database:
    """The real PostgreSQL, with the roles of docs/deploy/roles.sql, which need their passwords."""

    def __init__(self, server: Any, secrets: Path) -> None:
        self._server = server
        address = server.get_uri()
        self._folder = address.rpartition("host=")[2]
        with psycopg.connect(address, autocommit=True) as connection:
            found = connection.execute("SHOW hba_file").fetchone()
            assert found
            Path(found[0]).write_text("local all postgres trust\nlocal all all scram-sha-256\n")
            connection.execute("SELECT pg_reload_conf()")
        make = [server.bin_path / "psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", "docs/deploy/roles.sql", address]
        done = subprocess.run(make, cwd=ROOT, env={**os.environ, "SECRETS": str(secrets)}, capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")

    def url(self, url: str) -> str:
        """Return where this machine finds what a URL of compose.yaml names."""
        user, at, name = url.partition("@database/")
        assert at, url
        return f"{user}@/{name}?host={self._folder}"

    @property
    def own_url(self) -> str:
        """The address for the database's superuser, who needs no password on this machine."""
        return f"postgresql+psycopg://postgres@/flows?host={self._folder}"

    def kill(self) -> None:
        """Kill the server, as a crash would."""
        os.kill(self._server.get_pid(), signal.SIGKILL)

    def start(self) -> None:
        """Start it again after a crash: it recovers what was committed."""
        wait_until(self._started, within=START, why=lambda: "PostgreSQL does not start")

    def _started(self) -> bool:
        with suppress(subprocess.SubprocessError):  # processes of the one that was killed are still ending
            self._server.ensure_postgres_running()
            return True
        return False


class Composed:
    """The whole engine, as compose.yaml has it. `profile`: `cluster` for three servers that keep the log."""

    def __init__(
        self, folder: Path, postgresql: Any, *, profile: str = "single", code: Path = ROOT, **counts: int
    ) -> None:
        """`postgresql`: the server of `postgresql_process`; `counts`: replicas of services, where they are others.

        `code`: a checkout with its virtual environment, for what runs at first.
        """
        self.folder = folder
        self._profile = profile
        self._ports: dict[str, int] = {}
        self.secrets = folder / "secrets"
        self.use(code)
        self.database = Database(postgresql, self.secrets)
        self.restarts: Counter[str] = Counter()
        self._killed: set[Part] = set()
        self.parts: dict[str, list[Part]] = {}
        for name, service in self.services.items():
            if not set(service.get("profiles", self._profiles)) & self._profiles:
                continue
            if name.startswith("nats"):
                self.parts[name] = [self._server(name, service)]
            elif is_ours(service):
                count = counts.get(name, replicas(service))
                self.parts[name] = [self._part(name, number, service) for number in range(count)]

    def use(self, code: Path) -> None:
        """Prepare the folder as a version says; what is made from here on is of that version."""
        prepare = [str(code / "docs" / "deploy" / "prepare.sh"), self._profile]
        subprocess.run(prepare, cwd=self.folder, check=True, capture_output=True)
        values = variables(self.folder / ".env")
        composed = composition(values, code / FILE.name)
        self._code = code
        self.services: dict[str, Any] = composed["services"]
        self._profiles = set(values.get("COMPOSE_PROFILES", "").split(","))
        self._files = {name: self.folder / one["file"] for name, one in composed["secrets"].items()}

    def remake(self, name: str, number: int = 0) -> Part:
        """Make a replica anew, of the version in use and not started, in place of one that has ended."""
        service = self.services[name]
        made = self._server(name, service) if name.startswith("nats") else self._part(name, number, service)
        self.parts[name][number] = made
        return made

    @property
    def servers(self) -> list[Part]:
        """The servers that keep the log."""
        return [self.parts[name][0] for name in self.parts if name.startswith("nats")]

    @property
    def urls(self) -> list[str]:
        """The addresses of the APIs."""
        return [f"http://127.0.0.1:{part.env['FLOWS_PORT']}" for part in self.parts["api"]]

    @property
    def token(self) -> str:
        return (self.secrets / "admin-token").read_text().strip()

    def client(self, number: int = 0) -> Client:
        return Client(self.urls[number], self.token)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        for name in self._order():
            for needed, how in self.services[name].get("depends_on", {}).items():
                if how["condition"] == "service_healthy":
                    for part in self.parts.get(needed, []):
                        self.until_healthy(part)
            for part in self.parts[name]:
                part.start()
            ends = self.services[name]["restart"] == "on-failure"
            for part in self.parts[name]:
                if ends:
                    assert part.process
                    assert part.process.wait(START) == 0, part.said()
        for name in self._order():
            for part in self.parts[name]:
                self.until_healthy(part)

    def __exit__(self, *_: object) -> None:
        for name in reversed(self._order()):
            begun = [part for part in self.parts[name] if part.process is not None]
            for part in begun:
                part.terminate()
            for part in begun:
                with suppress(subprocess.TimeoutExpired):
                    part.wait()
                part.kill()

    def kill(self, part: Part) -> None:
        """Kill a part, as a crash would; `mind` leaves it."""
        self._killed.add(part)
        part.kill()

    def start(self, part: Part) -> None:
        """Start a part again that was killed."""
        self._killed.discard(part)
        part.start()

    def mind(self) -> None:
        """Start each part again that has ended by itself, as `restart: always` does."""
        for name, parts in self.parts.items():
            for part in parts:
                if self.services[name]["restart"] == "always" and not part.running and part not in self._killed:
                    self.restarts[name] += 1
                    part.start()

    def until_healthy(self, part: Part) -> None:
        """Wait until a part's health check says that it is well."""
        wait_until(lambda: self.healthy(part), within=START, why=lambda: f"{part.name}: {part.said()}")

    def healthy(self, part: Part) -> bool:
        """Run the health check of a part's container."""
        check = self.services[part.name].get("healthcheck", {})
        if check.get("disable"):
            return True
        if not part.running and part not in self._killed:
            part.start()  # `restart: always`
        command = check["test"] if "test" in check else image_health_check()
        command = [self._here(word) for word in command[1:]]
        if command[0] == "python":
            command[0] = sys.executable
            command[-1] = command[-1].replace(":8082", f":{part.env['FLOWS_PORT']}")
        if command[0] == "wget":
            address = command[-1].replace("127.0.0.1:8222", self._address(part.name, 8222))
            with suppress(httpx.TransportError):
                return httpx.get(address).is_success
            return False
        return subprocess.run(command, env=part.env, capture_output=True).returncode == 0

    @property
    def nats_url(self) -> str:
        """The log's address for whoever has all passwords."""
        url = self.parts["recorder"][0].env["FLOWS_NATS_URL"]
        files = self.secrets
        return with_files(url, credentials=str(files / "credentials"), ca=str(files / "nats-certificate"))

    def flows(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command as an operator does, where a recorder runs."""
        env = self.parts["recorder"][0].env | {"FLOWS_NATS_CREDENTIALS": str(self.secrets / "credentials")}
        return subprocess.run([self._flows, *arguments], env=env, capture_output=True, text=True, timeout=120)

    def _server(self, name: str, service: dict[str, Any]) -> Part:
        folder = self.folder / "etc" / name
        folder.mkdir(parents=True, exist_ok=True)
        for volume in service["volumes"]:
            source, target, *_ = volume.split(":")
            if target.startswith("/etc/nats/"):
                (folder / Path(target).name).write_text((self._code / source).read_text())
        env = self._environment(name, service) | {"FLOWS_NATS_STORE": str(self.folder / "data" / name)}
        for secret in (self._mounts(name) / "etc" / "nats").iterdir():
            shutil.copy(secret, folder)
        command = [word.replace("/etc/nats/", f"{folder}/") for word in service["command"]]
        address, monitor = self._address(name, 4222), self._address(name, 8222)
        # what a container has to itself
        command += ["-a", "127.0.0.1", "-p", address.partition(":")[2], "-m", monitor.partition(":")[2]]
        if any("cluster" in word for word in service["command"]):
            command += ["--cluster", f"nats://{self._address(name, 6222)}"]
        return self._made(name, name, [str(binary()), *command], env, service)

    def _part(self, name: str, number: int, service: dict[str, Any]) -> Part:
        title = f"{name}-{number + 1}"
        env = self._environment(name, service)
        if "FLOWS_DATABASE_URL" in env:
            env["FLOWS_DATABASE_URL"] = self.database.url(env["FLOWS_DATABASE_URL"])
        if "FLOWS_ALIVE_FILE" in env:
            env["FLOWS_ALIVE_FILE"] = str(self.folder / f"{title}.alive")
        if "FLOWS_STATE_DIR" in env:
            env["FLOWS_STATE_DIR"] = str(self.folder / "state")  # which replicas share
        if "FLOWS_HOST" in env:
            env |= {"FLOWS_HOST": "127.0.0.1", "FLOWS_PORT": str(self._port(title))}
        return self._made(name, title, [self._flows, *service["command"]], env, service)

    def _made(self, name: str, title: str, command: list[str], env: dict[str, str], service: dict[str, Any]) -> Part:
        grace = seconds(service["stop_grace_period"])
        return Part(name, command, env, self.folder / f"{title}.log", grace)

    def _environment(self, name: str, service: dict[str, Any]) -> dict[str, str]:
        """Return a service's environment, with the secrets that it is given where it looks for them, and no others."""
        folder = self._mounts(name)
        for secret in service.get("secrets", []):
            source = secret if isinstance(secret, str) else secret["source"]
            target = f"/run/secrets/{secret}" if isinstance(secret, str) else secret["target"]
            file = folder / target.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self._here(self._files[source].read_text()))
        values = {name: str(value) for name, value in service.get("environment", {}).items()}
        return {
            name: self._here(value).replace("/run/secrets", f"{folder}/run/secrets") for name, value in values.items()
        }

    def _mounts(self, name: str) -> Path:
        """Return what a service's root is here."""
        return self.folder / "mounts" / name

    def _address(self, name: str, port: int) -> str:
        return f"127.0.0.1:{self._port(f'{name}:{port}')}"

    def _port(self, whose: str) -> int:
        """Return a port of this machine, always the same for one listener."""
        return self._ports.get(whose) or self._ports.setdefault(whose, reserved_port())

    @property
    def _flows(self) -> str:
        """The image's entrypoint, of the version in use."""
        return str((Path(sys.executable).parent if self._code == ROOT else self._code / ".venv" / "bin") / "flows")

    def _here(self, text: str) -> str:
        """Return a text of a container with the addresses of servers on this machine."""
        for name in ("nats", "nats-2", "nats-3"):
            for port in (4222, 6222):
                text = re.sub(rf"(?<=[/@]){name}:{port}\b", self._address(name, port), text)
        return text

    def _order(self) -> list[str]:
        """Return the services in the order in which they may start."""
        order: list[str] = []

        def add(name: str) -> None:
            for needed in self.services[name].get("depends_on", {}):
                if needed in self.parts:
                    add(needed)
            if name not in order:
                order.append(name)

        for name in self.parts:
            add(name)
        return order


def image_health_check() -> list[str]:
    """Return the image's own health check, as compose.yaml would have it."""
    found = re.search(r"^HEALTHCHECK .*?CMD (\[[^\n]*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE | re.DOTALL)
    assert found
    return ["CMD", *json.loads(found[1])]
