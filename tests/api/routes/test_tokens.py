"""Tokens while the recorder stands still: what the log says of them counts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.running import Client, Running, paused, service
from tests.support import wait_until


def test_what_the_log_says_counts_while_the_tables_stand_still(running: Running, api: Client, unique: str) -> None:
    made = api.create("/tokens", name=unique, role="viewer")

    def status(secret: str) -> int:
        headers = {"Authorization": f"Bearer {secret}"}
        return httpx.get(f"{running.url}/api/v1/settings", headers=headers).status_code

    assert status(made["secret"]) == 200
    body = {"name": f"{unique}-late", "role": "viewer"}
    with ThreadPoolExecutor(2) as threads, paused(service(running, "recorder")):
        revoking = threads.submit(api.http.delete, f"/tokens/{made['id']}")
        creating = threads.submit(api.http.post, "/tokens", json=body)
        wait_until(lambda: status(made["secret"]) == 401)
        assert not revoking.done(), "the token is refused before who revoked it hears of it"
        late = creating.result()
        assert (revoking.result().status_code, late.status_code) == (202, 202)
        assert late.headers["location"] == f"/api/v1/commands/{late.json()['command_id']}"
        assert status(late.json()["secret"]) == 200
    api.until(f"/tokens/{made['id']}", lambda found: found["status"] == "revoked")
    api.until(f"/tokens?name={body['name']}", lambda found: [one["status"] for one in found["tokens"]] == ["active"])
