"""A command's identity is the log's, for ever: one effect for one key, whatever the age and the lag of the tables."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from bus.connection import connect
from bus.envelope import Stored
from bus.log import Log
from schemas.commands import Command
from tests.made import flow
from tests.running import APART, Client, Running, paused, service


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """An engine whose duplicate window is so short that no test can lean on it."""
    running = Running(tmp_path_factory.mktemp("identity") / "data", APART).start()
    asyncio.run(_without_window(running))
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def api(running: Running) -> Client:
    return running.client()


async def _without_window(running: Running) -> None:
    client = await connect(running.nats_url, "setup")
    js = client.jetstream()
    info = await js.stream_info("FLOWS")
    await js.update_stream(info.config.evolve(duplicate_window=WINDOW))
    await client.close()


WINDOW = 0.1  # seconds


@contextmanager
def lagging(running: Running) -> Iterator[None]:
    """The tables stay where they are."""
    with paused(service(running, "recorder")):
        yield


def commands(running: Running, kind: str) -> list[Command]:
    async def read() -> list[Command]:
        client = await connect(running.nats_url, "test")
        entries = await Log(client).read([f"command.{kind}"])
        await client.close()
        return [one.envelope.data for one in entries if isinstance(one, Stored)]  # type: ignore[misc]

    return asyncio.run(read())


def send(api: Client, path: str, key: str, body: Any = None) -> httpx.Response:
    return api.http.post(path, json=body, headers={"Idempotency-Key": key})


def test_the_same_key_after_the_window_runs_nothing_again_while_the_tables_lag(
    running: Running, api: Client, unique: str
) -> None:
    made = flow(api, unique)
    path = f"/protection-flows/{made['id']}/execute"
    with lagging(running):
        first = send(api, path, unique)
        time.sleep(3 * WINDOW)  # not a wait: the window passes, and nothing tells that it has
        again = send(api, path, unique)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["command_id"] == again.json()["command_id"]
    assert len([one for one in commands(running, "flow.execute") if one.id == made["id"]]) == 1
    found = api.until(f"{path.removesuffix('execute')}executions", lambda found: found["total"])
    assert found["total"] == 1
    # once the tables are there, the same key is answered with the execution
    assert send(api, path, unique).json()["id"] == found["executions"][0]["id"]
    api.ended(found["executions"][0]["id"])


def test_another_body_is_422_while_the_first_is_on_the_log_only(running: Running, api: Client, unique: str) -> None:
    with lagging(running):
        assert send(api, "/policies", unique, {"name": unique}).status_code == 202
        assert send(api, "/policies", unique, {"name": unique, "keep_last": 1}).status_code == 422
    assert len([one for one in commands(running, "policy.create") if one.spec.name == unique]) == 1  # type: ignore[attr-defined]


def test_two_bodies_with_one_key_at_once(running: Running, api: Client, unique: str) -> None:
    for number in range(5):
        key = f"{unique}-{number}"

        def create(body: int, key: str = key) -> int:
            return send(api, "/policies", key, {"name": f"{key}.{body}"}).status_code

        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(create, range(4))) == [201, 422, 422, 422]
        assert api.get("/policies", params={"q": key})["total"] == 1


def test_a_refusal_stays_a_refusal_while_the_tables_lag(running: Running, api: Client, unique: str) -> None:
    api.create("/policies", name=unique)
    with lagging(running):
        for _ in range(2):
            assert send(api, "/policies", unique, {"name": unique}).status_code == 409
            time.sleep(3 * WINDOW)  # not a wait: the window passes
    assert len([one for one in commands(running, "policy.create") if one.spec.name == unique]) == 2  # type: ignore[attr-defined]


def test_an_accepted_run_is_answered_when_its_flow_was_deleted(api: Client, unique: str) -> None:
    made = flow(api, unique, vms=2)
    path = f"/protection-flows/{made['id']}"
    first = send(api, f"{path}/execute", unique)
    ended = api.ended(first.json()["id"])
    api.call("DELETE", path, status=204)
    api.call("GET", f"/executions/{ended['id']}", status=404)
    again = send(api, f"{path}/execute", unique)
    assert again.status_code == 202
    assert again.headers["location"] == first.headers["location"]
    # as the log tells it: how it ended, too
    said = {**ended, "message": "started 2 backups", "execution_id": ended["id"]}
    assert again.json() == said
    # a new request is a new one
    api.call("POST", f"{path}/execute", status=404)


def test_changes_of_what_has_gone_since_are_not_made_again(api: Client, unique: str) -> None:
    made = flow(api, unique)
    path = f"/protection-flows/{made['id']}"
    for _ in range(2):
        api.call("DELETE", path, status=204, headers={"Idempotency-Key": unique})
    policy = api.create("/policies", name=unique)
    headers = {"Idempotency-Key": f"{unique}u"}
    api.call("PUT", f"/policies/{policy['id']}", {"keep_last": 2}, headers=headers)
    api.call("DELETE", f"/policies/{policy['id']}", status=204)
    problem = api.call("PUT", f"/policies/{policy['id']}", {"keep_last": 2}, headers=headers, status=404)
    assert "has been deleted since" in problem["detail"]


def test_a_repeated_clone_and_retry_are_the_first_ones(api: Client, unique: str) -> None:
    """What they ask for rests on what is there at that time: the first one's counts."""
    made = flow(api, unique, config={"failure_rate": 1.0})
    path = f"/protection-flows/{made['id']}"
    headers = {"Idempotency-Key": unique}
    copy = api.call("POST", f"{path}/clone", {"name": f"{unique} copy"}, status=201, headers=headers)
    failed = api.ended(api.call("POST", f"{path}/execute", status=202)["id"])
    retried = api.call("POST", f"/executions/{failed['id']}/retry", status=202, headers=headers)
    api.ended(retried["id"])
    api.call("PUT", path, {"priority": 7})
    assert api.call("POST", f"{path}/clone", {"name": f"{unique} copy"}, status=201, headers=headers) == copy
    api.call("POST", f"{path}/clone", {"name": "another"}, status=422, headers=headers)
    api.call("DELETE", path, status=204)
    again = api.call("POST", f"/executions/{failed['id']}/retry", status=202, headers=headers)
    assert again["id"] == retried["id"]
    assert again["retry_of"] == failed["id"]
