"""A real `flows up` for tests: a process tree on a folder of its own, and a client of its API."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.ports import reserved_port

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
        deadline = time.monotonic() + within
        while not check(found := self.get(path)):
            assert time.monotonic() < deadline, f"{path} is still {found}"
            time.sleep(0.05)
        return found

    def until_up(self, within: float = START) -> None:
        """Wait until the API answers at all."""
        deadline = time.monotonic() + within
        while True:
            with contextlib.suppress(httpx.TransportError):
                self.http.get("/protection-flows")
                return
            assert time.monotonic() < deadline, f"{self.http.base_url} does not answer"
            time.sleep(0.2)

    def until_created(self, path: str, body: dict[str, Any], key: str, within: float = 30) -> Any:
        """Create something, asking again with the same key while the log is not available."""
        deadline = time.monotonic() + within
        while (answer := self.http.post(path, json=body, headers={"Idempotency-Key": key})).status_code != 201:
            assert answer.status_code in {202, 503}, answer.text
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.2)
        return answer.json()

    def ended(self, execution_id: str, within: float = 60) -> Any:
        return self.until(f"/executions/{execution_id}", lambda found: found["completed_at"], within)

    def close(self) -> None:
        self.http.close()


@contextmanager
def paused(pid: int) -> Iterator[None]:
    """A process that is there and does nothing."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def service(running: Running, name: str) -> int:
    found = subprocess.run(
        ["pgrep", "-P", str(running.tree()[0]), "-f", f"serve {name}"], capture_output=True, text=True, check=True
    )
    return int(found.stdout)


def wait_until(check: Callable[[], Any], *, within: float = 30) -> Any:
    """Return the first true value of `check`, asked again until `within` seconds have passed."""
    deadline = time.monotonic() + within
    while not (value := check()):
        assert time.monotonic() < deadline, f"not within {within} s; the last value was {value!r}"
        time.sleep(0.05)
    return value
