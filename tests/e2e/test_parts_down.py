"""A part is down: an honest answer, nothing lost, nothing half-done."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.running import APART, Client, Running, paused, service
from tests.support import wait_until

pytestmark = pytest.mark.server


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path / "data", APART).start()
    yield running
    assert running.stop() == 0


@pytest.fixture
def api(running: Running) -> Client:
    return running.client()


@pytest.mark.parametrize("name", ["recorder", "registry"])
def test_without_a_service_the_answer_is_202_and_its_address_tells_the_outcome_later(
    running: Running, api: Client, name: str
) -> None:
    with paused(service(running, name)):
        answer = api.http.post("/policies", json={"name": "later"})
        assert answer.status_code == 202
        assert answer.json()["status"] == "pending"
        address = answer.headers["location"].removeprefix("/api/v1")
        assert api.get("/policies")["total"] == 0

    def outcome() -> str | None:
        found = api.http.get(address)
        return None if found.status_code == 404 or found.json()["outcome"] == "pending" else found.json()["outcome"]

    assert wait_until(outcome) == "accepted"
    assert api.get("/policies")["total"] == 1


def test_without_the_log_the_answer_is_503_soon_and_nothing_is_half_done(running: Running, api: Client) -> None:
    api.create("/policies", name="before")
    with paused(int((running.folder / "nats.pid").read_text())):
        begun = time.monotonic()
        answer = api.http.post("/policies", json={"name": "during"}, headers={"Idempotency-Key": "k"})
        assert answer.status_code == 503
        assert time.monotonic() - begun < 15  # two, and more for a busy machine: it does not wait for the log
        assert int(answer.headers["retry-after"]) > 0
        assert answer.headers["content-type"] == "application/problem+json"
        assert api.get("/policies")["total"] == 1  # reading goes on
        assert api.http.get(f"{running.url}/health/ready").status_code == 503
    again = api.until_created("/policies", {"name": "during"}, key="k")
    assert again["name"] == "during"
    assert api.get("/policies")["total"] == 2


def test_two_hundred_creates_with_twenty_names_make_twenty_flows(running: Running, api: Client) -> None:
    vm = api.create("/vm-contexts", vm_name="vm")["context_id"]
    repository = api.create("/repositories", name="r", type="simulated", location="/x")["id"]
    fields = {"flow_type": "backup", "target_type": "vm", "target_id": vm, "repository_id": repository}

    def create(number: int) -> int:
        return api.http.post("/protection-flows", json={"name": f"flow {number % 20}", **fields}).status_code

    with ThreadPoolExecutor(32) as pool:
        statuses = Counter(pool.map(create, range(200)))
    assert statuses == {201: 20, 409: 180}
    assert api.get("/protection-flows")["total"] == 20
    with sqlite3.connect(f"file:{running.folder}/flows.db?mode=ro", uri=True) as database:
        on_the_log = dict(
            database.execute("select subject like 'catalog.flow.%', count(*) from events group by 1").fetchall()
        )
        refused = database.execute("select count(*) from events where type = 'rejected.flow.create'").fetchone()
        outcomes = dict(
            database.execute("select outcome, count(*) from commands where entity = 'flow' group by 1").fetchall()
        )
    database.close()
    assert (on_the_log[1], refused[0], outcomes) == (20, 180, {"accepted": 20, "rejected": 180})
