"""Clients of several APIs, who go to another one when they cannot connect, as behind the proxy."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import httpx

from tests.support import wait_until

PATIENCE = 15.0  # seconds in which an API is found that takes a connection: `lb_try_duration` of docs/deploy/Caddyfile
PACE = 0.05


class Failover(httpx.BaseTransport):
    """Sends each request to one of several servers: to the next one, for what none of them has begun."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = [httpx.URL(url) for url in urls]
        self._transport = httpx.HTTPTransport()
        self._turn = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        deadline = time.monotonic() + PATIENCE
        while True:
            self._turn += 1
            url = self._urls[self._turn % len(self._urls)]
            request.url = request.url.copy_with(host=url.host, port=url.port)
            try:
                return self._transport.handle_request(request)
            except httpx.ConnectError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(PACE)  # not a wait: the pace of its tries

    def close(self) -> None:
        self._transport.close()


class Clients:
    """So many people who define flows, run them and read what became of them, one request after the other each."""

    def __init__(self, urls: Sequence[str], token: str, *, count: int = 2) -> None:
        self._urls, self._token = urls, token
        self.failed: list[str] = []
        self.requests = 0
        self.slowest = 0.0
        self.accepted: list[str] = []  # executions
        self.made: list[str] = []  # flows
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=[number], daemon=True) for number in range(count)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def go_on(self, most: float = 60) -> None:
        """Wait until some more executions are accepted."""
        enough = len(self.accepted) + 2
        wait_until(lambda: len(self.accepted) >= enough or self.failed, within=most, why=lambda: str(self.failed))

    def _work(self, number: int) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        with httpx.Client(
            base_url="http://api/api/v1", headers=headers, timeout=30, transport=Failover(self._urls)
        ) as http:
            round_ = 0
            while not self._over.is_set():
                round_ += 1
                try:
                    self._round(http, f"client {number}, round {round_}")
                except httpx.HTTPError as error:
                    self.failed.append(
                        f"{type(error).__name__}: {error}, at {error.request.method} {error.request.url}"
                    )
                time.sleep(PACE)  # not a wait: the pace of the load

    def _round(self, http: httpx.Client, name: str) -> None:
        member = self._send(http, "POST", "/vm-contexts", {"vm_name": name}, name)
        repository = {"name": name, "type": "simulated", "location": "/x", "config": {"seconds": 0.2}}
        place = self._send(http, "POST", "/repositories", repository, f"{name}, repository")
        if "context_id" not in member or "id" not in place:
            return  # on the log, and not in the tables yet
        flow = {"name": name, "flow_type": "backup", "target_type": "vm", "target_id": member["context_id"]}
        made = self._send(http, "POST", "/protection-flows", flow | {"repository_id": place["id"]}, f"{name}, flow")
        if "id" not in made:
            return
        self.made.append(made["id"])
        run = self._send(http, "POST", f"/protection-flows/{made['id']}/execute", None, f"{name}, run")
        if "id" in run:
            self.accepted.append(run["id"])
            self._send(http, "GET", f"/executions/{run['id']}")
        self._send(http, "GET", "/protection-flows?limit=5")

    def _send(self, http: httpx.Client, method: str, path: str, body: Any = None, key: str = "") -> dict[str, Any]:
        began = time.monotonic()
        headers = {"Idempotency-Key": key} if key else {}
        response = http.request(method, path, json=body, headers=headers)
        self.requests += 1
        self.slowest = max(self.slowest, time.monotonic() - began)
        if response.is_error:
            self.failed.append(f"{method} {path}: {response.status_code} {response.text[:300]}")
            return {}
        found: dict[str, Any] = response.json()
        return found
