"""The settings of the whole engine over HTTP: versions, strict bodies, the audit log, and services that are down."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.running import Client, Running, paused, service


@pytest.fixture(autouse=True)
def lifted(api: Client) -> Iterator[None]:
    """Others share this engine: no limit is left behind."""
    yield
    api.call("PUT", "/settings", {"max_concurrent_jobs": None, "keep_days": None})


def test_over_http(api: Client) -> None:
    version = api.call("PUT", "/settings", {"max_concurrent_jobs": 2, "keep_days": 7})["version"]
    answer = api.http.put("/settings", json={"keep_days": None}, headers={"If-Match": f'"{version}"'})
    assert (answer.status_code, answer.headers["etag"]) == (200, f'"{version + 1}"')
    assert (answer.json()["max_concurrent_jobs"], answer.json()["keep_days"]) == (2, None)
    stale = api.call("PUT", "/settings", {"keep_days": 9}, status=412, headers={"If-Match": f'"{version}"'})
    assert f"at version {version + 1}, not {version}" in stale["detail"]
    wrong = api.call("PUT", "/settings", {"keep_days": "9", "max_concurrent_jobs": 0, "colour": "red"}, status=422)
    assert {error["field"] for error in wrong["errors"]} == {"keep_days", "max_concurrent_jobs", "colour"}
    api.call("GET", "/settings?colour=red", status=400)
    assert api.call("PUT", "/settings", {})["version"] == version + 1  # nothing to change
    refused, entry = api.get("/audit?entity=settings")["commands"][1:3]
    assert (refused["outcome"], refused["code"]) == ("rejected", "version")
    assert (entry["actor"], entry["verb"], entry["outcome"]) == ("admin", "update", "accepted")
    assert (entry["before"]["keep_days"], entry["after"]["keep_days"]) == (7, None)
    assert entry["request"]["patch"] == {"keep_days": None}


@pytest.mark.parametrize("name", ["registry", "recorder"])
def test_without_a_service_a_change_waits_on_the_log(running: Running, api: Client, name: str) -> None:
    before = api.get("/settings")
    days = (before["keep_days"] or 0) + 1
    with paused(service(running, name)):
        answer = api.http.put("/settings", json={"keep_days": days})
        assert answer.status_code == 202
        assert api.get("/settings") == before
    api.until("/settings", lambda found: found["keep_days"] == days)
