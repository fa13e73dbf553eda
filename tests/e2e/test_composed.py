"""compose.yaml as plain processes: it works end to end, each part with its own rights, and each can be restarted."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.composed import Composed
from tests.databases import postgresql_process
from tests.e2e.load import Clients
from tests.e2e.once import once_each
from tests.made import flow, scheduled
from tests.running import Client

pytestmark = pytest.mark.server

# how often all are restarted, one after the other; 0: one of each part
ROUNDS = int(os.environ.get("FLOWS_TEST_ROLLING_RESTARTS", "0"))
PARTS = (
    "setup",
    "recorder",
    "notifier",
    "executor",
    "scheduler",
    "registry",
    "worker",
    "api",
)  # as they are upgraded, too


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    folder = tmp_path_factory.mktemp("composed")
    with postgresql_process() as postgresql:
        with Composed(folder, postgresql, scheduler=3, executor=3, registry=2) as composed:
            yield composed
        for name in PARTS:
            for part in composed.parts[name]:  # each ends when it is asked to, and nobody shows a secret
                assert part.wait() == 0, part.said()
                for secret in filter(Path.is_file, composed.secrets.rglob("*")):
                    assert secret.read_text().strip() not in part.said(), f"{part.name} tells {secret.name}"


@pytest.fixture
def clients(composed: Composed) -> Iterator[list[Client]]:
    clients = [composed.client(number) for number in range(len(composed.urls))]
    clients[0].until_ready()
    yield clients
    for client in clients:
        client.close()


def test_all_that_is_composed_works_together(composed: Composed, clients: list[Client]) -> None:
    one, other = clients
    made = flow(one, "nightly", vms=3)
    execution = other.call("POST", f"/protection-flows/{made['id']}/execute", status=202)
    assert other.ended(execution["id"])["status"] == "success"
    assert one.get(f"/executions/{execution['id']}")["jobs_completed"] == 3
    api, password = composed.parts["api"][0].env, (composed.secrets / "database-api").read_text().strip()
    address = api["FLOWS_DATABASE_URL"].replace("+psycopg", "").replace("flows_api@", f"flows_api:{password}@")
    with psycopg.connect(address) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("DELETE FROM events")
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(address.replace(password, "guessed"))


@pytest.mark.timeout(240 + 240 * ROUNDS)
async def test_each_part_is_restarted_under_load_and_no_request_fails(
    composed: Composed, clients: list[Client]
) -> None:
    minutely = [scheduled(clients[0], f"each minute {number}", "* * * * *")["id"] for number in range(3)]
    load = Clients(composed.urls, composed.token)
    load.start()
    began = time.monotonic()
    parts = [part for name in PARTS for part in composed.parts[name]] * ROUNDS
    for part in parts or [composed.parts[name][0] for name in PARTS]:
        load.go_on()
        part.terminate()
        assert part.wait() == 0, part.said()
        part.start()
        composed.until_healthy(part)
    load.go_on()
    load.stop()
    took = time.monotonic() - began
    print(
        f"{len(parts) or len(PARTS)} restarts in {took:.0f} s: {load.requests} requests, the slowest took "
        f"{load.slowest:.1f} s; {len(load.failed)} failed; {len(load.accepted)} executions"
    )
    assert load.failed == []
    for execution_id in load.accepted:
        ended = clients[0].ended(execution_id, 40)
        assert (ended["status"], ended["jobs_completed"]) == ("success", 1)
    await once_each(composed.nats_url, load.accepted, minutely)
    checked = composed.flows("doctor")
    assert checked.returncode == 0, checked.stdout + checked.stderr
