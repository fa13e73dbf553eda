"""SIGTERM while requests wait: each gets an honest answer, and live streams end cleanly."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.running import APART, Client, Running, paused, service
from tests.support import wait_until


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path / "data", APART).start()
    yield running
    assert running.stop() == 0


@pytest.fixture
def api(running: Running) -> Client:
    return running.client()


def _outcome(api: Client, address: str) -> str | None:
    """Return what became of a command, None while it is not known."""
    found = api.http.get(address)
    outcome: str = found.json()["outcome"] if found.status_code == 200 else "pending"
    return None if outcome == "pending" else outcome


@pytest.mark.parametrize("part", ["registry", "recorder"])
def test_who_waits_at_the_end_hears_where_the_outcome_will_be(running: Running, api: Client, part: str) -> None:
    """Nobody answers the command, or the tables do not get to it: in either case it is on the log."""

    def create(_: int) -> httpx.Response:
        return api.http.post("/policies", json={"name": "x"}, headers={"Idempotency-Key": "k"})

    with ThreadPoolExecutor(1) as pool, paused(service(running, part)):
        waiting = pool.submit(create, 0)
        live = api.http.build_request("GET", "/events", params={"type": "command"}, headers={"Last-Event-ID": "0"})
        stream = api.http.send(live, stream=True)
        lines = stream.iter_lines()
        while "event: command.policy.create" not in next(lines):
            pass  # it is on the log now
        begun = time.monotonic()
        os.kill(service(running, "api"), signal.SIGTERM)
        assert all(line.partition(":")[0] in {"", "id", "event", "data"} for line in lines)  # to a proper end
        assert time.monotonic() - begun < 2  # streams do not use up the time of those who wait
        answer = waiting.result()
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) > 0
        address = answer.headers["location"]
        assert "is on the log" in answer.json()["detail"]
        assert address in answer.json()["detail"]
    api.until_up()
    where = address.removeprefix("/api/v1")
    found = wait_until(lambda: _outcome(api, where))
    assert found == "accepted"
    again = create(1)
    assert again.status_code == 201
    assert api.get("/policies")["total"] == 1


def test_who_waits_for_a_cancelled_execution_is_told(running: Running, api: Client) -> None:
    """A request that waits for something else than an outcome: no part of it is left in the dark."""
    vm = api.create("/vm-contexts", vm_name="v")["context_id"]
    repository = api.create("/repositories", name="r", type="simulated", location="/x", config={"seconds": 60})
    fields = {"flow_type": "backup", "target_type": "vm", "target_id": vm, "repository_id": repository["id"]}
    made = api.create("/protection-flows", name="f", **fields)
    started = api.call("POST", f"/protection-flows/{made['id']}/execute", status=202)
    api.until(f"/executions/{started['id']}/jobs", lambda found: found["jobs"][0]["status"] == "running")
    with ThreadPoolExecutor(1) as pool, paused(service(running, "worker")):
        deleting = pool.submit(api.http.delete, f"/protection-flows/{made['id']}", params={"force": True})
        api.until("/audit?verb=cancel", lambda found: found["total"])
        os.kill(service(running, "api"), signal.SIGTERM)
        answer = deleting.result()
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0
    api.until_up()
