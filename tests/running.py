"""A real `flows up` for tests: a process tree on a folder of its own, and a client of its API."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from cli import places
from tests.ports import reserved_port
from tests.support import wait_until

ROOT = Path(__file__).parent.parent
START = 60.0  # seconds: generous, as other tests run beside it


class Running:
    """`flows up` on `folder`. `start` returns when it greets; `kill` ends the whole tree as a crash would."""

    def __init__(self, folder: Path, *options: str, descriptors: int | None = None) -> None:
        """`descriptors`: how many each process may have open, and not one more."""
        self.folder = folder
        self.limited = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh"] if descriptors else []
        self.port = reserved_port()
        self.options = options
        self.process: subprocess.Popen[str] | None = None
        self._clients: list[Client] = []

    def start(self) -> Running:
        self.process = subprocess.Popen(
            [*self.limited, *FLOWS, "up", "--data", str(self.folder), "--port", str(self.port), *self.options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
        )
        assert self.process.stdout
        said = ""
        for line in self.process.stdout:
            said += line
            if "Press Ctrl+C" in line:
                return self
        raise AssertionError(f"flows up ended: {said}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        return (self.folder / "admin-token").read_text().strip()

    @property
    def nats_url(self) -> str:
        """The log's address for parts and commands, each with its own password."""
        return places.nats_url(self.folder)

    @property
    def subscriber_url(self) -> str:
        """The address for those who subscribe to live events."""
        return (self.folder / "nats-url").read_text().strip()

    def client(self) -> Client:
        """Return a client that is closed when the engine is stopped."""
        self._clients.append(Client(self.url, self.token))
        return self._clients[-1]

    def tree(self) -> list[int]:
        """Return the process ids of `flows up` and its children."""
        assert self.process
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    def kill(self) -> None:
        for pid in self.tree():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._wait()

    def stop(self) -> int:
        """Stop as Ctrl+C does, close what `client` gave, and return the exit code."""
        for client in self._clients:
            client.close()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self._wait()

    def _wait(self) -> int:
        assert self.process
        assert self.process.stdout
        code = self.process.wait(60)
        self.process.stdout.close()
        return code


FLOWS = [sys.executable, "-m", "cli.main"]
APART = "--process-per-service"  # for who stops one service, and no other


class Client:
    """The API, for somebody with a token."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url, token
        self.http = httpx.Client(base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=30)

    def call(self, method: str, path: str, body: Any = None, *, status: int = 200, **options: Any) -> Any:
        """Send a request, check the status, and return the answer's body."""
        answer = self.http.request(method, path, json=body, **options)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        if status >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            problem = answer.json()
            assert problem["status"] == status
            assert problem["title"]
            assert problem["detail"]
            assert problem["type"]
        return answer.json() if answer.content else None

    def get(self, path: str, **options: Any) -> Any:
        return self.call("GET", path, **options)

    def create(self, path: str, **body: Any) -> Any:
        return self.call("POST", path, body, status=201)

    def until(self, path: str, check: Any, within: float = 60) -> Any:
        """Return what is at a path once it is as `check` wants it."""
        found: list[Any] = []

        def there() -> Any:
            found[:] = [self.get(path)]
            return check(found[0])

        wait_until(there, within=within, why=lambda: f"{path} is still {found[0]}")
        return found[0]

    def until_up(self, within: float = START) -> None:
        """Wait until the API answers at all."""

        def answers() -> bool:
            with contextlib.suppress(httpx.TransportError):
                self.http.get("/protection-flows")
                return True
            return False

        wait_until(answers, within=within, why=lambda: f"{self.http.base_url} does not answer")

    def until_ready(self, within: float = 2 * START) -> None:
        """Wait until every service is there, and the tables are."""
        said: list[str] = [""]

        def ready() -> bool:
            with contextlib.suppress(httpx.TransportError):
                found = self.http.get(f"{self.url}/health/ready")
                said[0] = found.text
                return found.status_code == 200 and found.json()["status"] == "ok"
            return False

        wait_until(ready, within=within, why=lambda: f"{self.url} is not ready: {said[0]}")

    def until_created(self, path: str, body: dict[str, Any], key: str, within: float = 30) -> Any:
        """Create something, asking again with the same key while the log is not available."""

        def created() -> Any:
            answer = self.http.post(path, json=body, headers={"Idempotency-Key": key})
            assert answer.status_code in {201, 202, 503}, answer.text
            return answer.json() if answer.status_code == 201 else None

        return wait_until(created, within=within, why=lambda: f"{path} takes nothing")

    def ended(self, execution_id: str, within: float = 60) -> Any:
        return self.until(f"/executions/{execution_id}", lambda found: found["completed_at"], within)

    def close(self) -> None:
        self.http.close()


@contextmanager
def paused(pid: int) -> Iterator[None]:
    """A process that is there and does nothing."""
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: all(state == "T" for state in _states(pid)), why=lambda: f"{pid} is {_states(pid)}")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _states(pid: int) -> list[str]:
    """Return the state of each thread of a process: each of them stops when it gets to it."""
    return [file.read_text().rpartition(")")[2].split()[0] for file in Path(f"/proc/{pid}/task").glob("*/stat")]


def service(running: Running, name: str) -> int:
    """Return the id of the process that a service runs in."""
    found = subprocess.run(
        ["pgrep", "-P", str(running.tree()[0]), "-f", f"serve .*\\b{name}\\b"],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(found.stdout)
