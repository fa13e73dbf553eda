"""The whole engine as distributed processes, as compose.yaml runs it, for tests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from bus.server import Server
from tests.ports import reserved_port
from tests.running import FLOWS, ROOT, Client

TOKEN = "a-token-for-tests"


class Distributed:
    """A nats-server, a database, and two processes with the services."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.server = Server(folder / "nats")
        self.server.start()
        self.port = reserved_port()
        token = folder / "token"
        token.write_text(TOKEN)
        token.chmod(0o600)
        self.env = {
            **os.environ,
            "FLOWS_NATS_URL": self.server.url,
            "FLOWS_DATABASE_URL": database_url,
            "FLOWS_ADMIN_TOKEN_FILE": str(token),
            "FLOWS_PORT": str(self.port),
        }
        parts = (["setup", "recorder", "registry", "worker"], ["api", "scheduler", "executor"])
        self.processes = [
            subprocess.Popen([*FLOWS, "serve", *names], cwd=ROOT, env=self.env, stderr=subprocess.DEVNULL)
            for names in parts
        ]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> Client:
        return Client(self.url, TOKEN)

    def flows(self, *arguments: str) -> str:
        command = [*FLOWS, *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            assert process.wait(20) == 0
        self.server.stop()
