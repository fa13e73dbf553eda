"""The workers of a running engine: which are there, and who may enrol itself, as those see it who try."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.attempts import BY_ADDRESS
from schemas.tokens import digest_of
from tests.running import Client, Running
from tests.support import wait_until
from tests.workers import token

LOST = timedelta(milliseconds=1500)  # until a token expires: time enough to create its worker


@pytest.fixture
def elsewhere(running: Running, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """A machine with an address of its own: what it does wrong keeps nobody else out."""
    number = 2 + request.function.__code__.co_firstlineno % 200
    transport = httpx.HTTPTransport(local_address=f"127.0.0.{number}")
    with httpx.Client(base_url=f"{running.url}/api/v1", transport=transport, timeout=30) as client:
        yield client


def enrol(http: httpx.Client, token: str, secret: str = "mine") -> httpx.Response:
    return http.post("/workers/enrol", json={"token": token, "digest": digest_of(secret)})


def rejected(api: Client, name: str) -> list[dict[str, Any]]:
    """Return who was refused to be enrolled as a worker, as the audit log has it."""
    asked = {"entity": "worker", "entity_id": name, "verb": "enrol", "outcome": "rejected"}
    found: list[dict[str, Any]] = api.get("/audit", params=asked)["commands"]
    return found


def test_the_workers_of_an_engine_are_listed(api: Client) -> None:
    found = api.until("/workers", lambda found: bool(found["workers"]))["workers"]
    assert all({"simulated", "directory"} <= set(one["engines"]) for one in found)
    assert all(one["slots"] and one["last_seen_at"] for one in found)
    versions = api.until("/workers", lambda found: all(one["version"] for one in found["workers"]))
    assert {one["state"] for one in versions["workers"]} <= {"running", "behind"}


def test_of_those_who_show_one_token_at_once_one_is_enrolled(api: Client, elsewhere: httpx.Client, unique: str) -> None:
    made = api.create("/workers", name=unique)
    with ThreadPoolExecutor(4) as pool:
        responses = list(pool.map(lambda secret: enrol(elsewhere, made["token"], secret), "abcd"))
    assert sorted(one.status_code for one in responses) == [200, 409, 409, 409]
    won = next(number for number, one in enumerate(responses) if one.status_code == 200)
    assert enrol(elsewhere, made["token"], "abcd"[won]).status_code == 200, "whose response was lost asks again"
    refusals = [one.json()["detail"] for one in responses if one.status_code == 409]
    assert all(f"the one-time token of worker {unique!r} was used at" in one for one in refusals)
    lines = rejected(api, unique)
    assert [(one["actor"], one["outcome"]) for one in lines] == [(f"worker:{unique}", "rejected")] * 3


def test_a_token_that_has_expired_enrols_nobody(api: Client, elsewhere: httpx.Client, unique: str) -> None:
    end = datetime.now(UTC) + LOST
    made = api.create("/workers", name=unique, expires_at=end.isoformat())
    wait_until(lambda: datetime.now(UTC) > end)
    refused = enrol(elsewhere, made["token"])
    assert refused.status_code == 409
    assert f"the one-time token of worker {unique!r} expired at" in refused.json()["detail"]
    assert "ask an administrator for another one" in refused.json()["detail"]
    assert len(rejected(api, unique)) == 1
    (listed,) = [one for one in api.get("/workers")["enrolments"] if one["name"] == unique]
    assert listed["status"] == "expired"


def test_who_guesses_is_stopped_and_who_has_the_token_is_not(api: Client, elsewhere: httpx.Client, unique: str) -> None:
    """Nothing of it is on the log: who guesses could fill it."""
    made = api.create("/workers", name=unique)
    statuses = [enrol(elsewhere, token(name)).status_code for name in (unique, "nobody") * BY_ADDRESS.burst]
    assert set(statuses[: BY_ADDRESS.burst]) == {401}
    assert statuses.count(429) > BY_ADDRESS.burst / 2
    refused = enrol(elsewhere, token(unique))
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) < 60
    assert rejected(api, unique) == []
    assert enrol(elsewhere, made["token"]).status_code == 200


@pytest.mark.parametrize("parameter", ["token", "note"])
def test_a_token_in_an_address_is_refused_and_enrols_nobody(
    api: Client, elsewhere: httpx.Client, unique: str, parameter: str
) -> None:
    made = api.create("/workers", name=unique)
    body = {"token": made["token"], "digest": digest_of("mine")}
    refused = elsewhere.post("/workers/enrol", params={parameter: made["token"]}, json=body)
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["field"] == parameter
    assert made["token"] not in refused.text
    (listed,) = [one for one in api.get("/workers")["enrolments"] if one["name"] == unique]
    assert listed["status"] == "waiting"


def test_a_one_time_token_opens_nothing_else(api: Client, elsewhere: httpx.Client, unique: str) -> None:
    made = api.create("/workers", name=unique)
    headers = {"Authorization": f"Bearer {made['token']}"}
    for method, path in (("GET", "/workers"), ("POST", "/workers"), ("POST", "/protection-flows"), ("GET", "/audit")):
        assert elsewhere.request(method, path, headers=headers, json={}).status_code == 401, path
