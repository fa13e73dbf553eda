"""Tokens as people make and use them, against a running engine: `flows token`, HTTP, the audit log and live streams."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from schemas.tokens import digest_of, is_whole
from tests.cli.inside import called
from tests.running import Client, Running
from tests.support import wait_until


def made(name: str, *options: str, role: str = "viewer") -> str:
    """Create a token and return its secret."""
    done = called("token", "create", "--name", name, "--role", role, *options)
    assert done.code == 0, done.err
    assert "shown once" in done.err
    secret = done.out.strip()
    assert is_whole(secret)
    return secret


def listed(api: Client, name: str) -> dict[str, Any]:
    (found,) = api.get("/tokens", params={"name": name})["tokens"]
    return dict(found)


def refused(running: Running, secret: str) -> str:
    found = httpx.get(f"{running.url}/api/v1/policies", headers={"Authorization": f"Bearer {secret}"})
    assert found.status_code == 401
    return str(found.json()["detail"])


@pytest.fixture
def secrets(here: Path) -> list[str]:
    """Take care that commands find the engine; the secrets of a test, which nothing may have kept at its end."""
    del here
    return []


def test_a_life(running: Running, api: Client, unique: str, secrets: list[str]) -> None:
    """Created, used, refused what it may not, revoked; and nowhere is its secret."""
    secrets.append(made(unique, "--expires", "90d", role="operator"))
    there = listed(api, unique)
    left = datetime.fromisoformat(there["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=89) < left < timedelta(days=91)
    assert (there["status"], there["created_by"], there["groups"]) == ("active", "admin", None)
    client = Client(running.url, secrets[0])
    client.get("/policies")
    denied = client.call("POST", "/policies", {"name": unique}, status=403)
    assert f"this needs the role admin, and you are {unique!r} with the role operator" in denied["detail"]
    client.call("GET", "/tokens", status=403)
    policy = api.create("/policies", name=unique)
    client.call("PATCH", f"/policies/{policy['id']}/disable")
    (entry,) = api.get("/audit", params={"entity_id": policy["id"], "verb": "disable"})["commands"]
    assert entry["actor"] == unique
    wait_until(lambda: listed(api, unique)["last_used_at"])
    assert listed(api, unique)["last_refused_at"] is None
    assert unique in called("token", "list").out
    assert called("token", "revoke", unique).out == f"revoked token {unique!r}\n"
    assert f"token {unique!r} was revoked at" in refused(running, secrets[0])
    wait_until(lambda: listed(api, unique)["last_refused_at"])
    assert called("token", "revoke", unique).code == 0, "it is revoked already"
    again = called("token", "create", "--name", unique, "--role", "viewer")
    assert again.code == 1
    assert "choose another" in again.err
    client.http.close()
    lines = [json.loads(line) for line in (running.folder / "logs" / "api.log").read_text().splitlines()]
    (told,) = [one for one in lines if one["action"] == "token_refused" and one["token"] == unique]
    assert (told["address"], told["token_id"]) == ("127.0.0.1", there["id"])
    found = [file for file in running.folder.rglob("*") if file.is_file() and secrets[0].encode() in file.read_bytes()]
    assert found == []


def test_an_idempotency_key_does_not_show_a_secret_twice(running: Running, api: Client, unique: str) -> None:
    body = {"name": unique, "role": "viewer"}
    first = api.http.post("/tokens", json=body, headers={"Idempotency-Key": unique})
    assert first.status_code == 201
    assert first.headers["cache-control"] == "no-store"
    again = api.call("POST", "/tokens", body, status=409, headers={"Idempotency-Key": unique})
    assert "was shown then, once" in again["detail"]
    assert listed(api, unique)["id"] == first.json()["id"]
    assert httpx.get(
        f"{running.url}/api/v1/policies", headers={"Authorization": f"Bearer {first.json()['secret']}"}
    ).is_success


def test_one_with_a_scope_has_nothing_to_do_with_tokens(
    running: Running, api: Client, unique: str, secrets: list[str]
) -> None:
    api.create("/machine-groups", name=unique)
    secrets.append(made(f"{unique}-admin", "--group", unique, role="admin"))
    client = Client(running.url, secrets[0])
    body = {"role": "viewer", "name": f"{unique}-no", "groups": [unique]}
    refused = client.call("POST", "/tokens", body, status=403)
    assert "limited to protection groups" in refused["detail"]
    client.call("GET", "/tokens", status=403)
    client.call("DELETE", f"/tokens/{listed(api, f'{unique}-admin')['id']}", status=403)
    client.http.close()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "admin"}, "name"),
        ({"role": "root"}, "role"),
        ({"groups": ["there is none"]}, "groups[0]"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"created_by": "somebody"}, "created_by"),
        ({"actor": "somebody"}, "actor"),
        ({"digest": "0" * 64}, "digest"),
        ({"name": f"flows_{'x' * 42}7"}, "name"),
    ],
)
def test_bad_input(api: Client, unique: str, body: dict[str, Any], field: str) -> None:
    found = api.call("POST", "/tokens", {"name": unique, "role": "viewer", **body}, status=422)
    assert field in {error["field"] for error in found["errors"]}


def test_what_is_about_tokens_is_for_administrators(running: Running, api: Client, unique: str) -> None:
    """Neither the log nor the audit shows a viewer what secrets are known by."""
    made = api.create("/tokens", name=unique, role="viewer")
    viewer = Client(running.url, made["secret"])
    digest = digest_of(made["secret"])
    for path in ("/events/log?pattern=catalog.token&limit=500", "/events/log?limit=500", "/audit?entity=token"):
        assert ("token" in api.http.get(path).text) or "log?limit" in path
        found = viewer.http.get(path)
        assert found.is_success
        assert digest not in found.text
        assert "command.token" not in found.text
    (command,) = api.get("/audit", params={"entity_id": made["id"]})["commands"]
    viewer.call("GET", f"/commands/{command['id']}", status=404)
    viewer.http.close()


def test_a_live_stream_ends_with_its_token(running: Running, api: Client, unique: str) -> None:
    """Nothing that comes after the revocation is shown, and nothing about tokens before it."""
    made = api.create("/tokens", name=unique, role="viewer")
    headers = {"Authorization": f"Bearer {made['secret']}"}
    lines: list[str] = []
    connected = threading.Event()

    def listen() -> None:
        with httpx.stream("GET", f"{running.url}/api/v1/events", headers=headers, timeout=60) as answer:
            for line in answer.iter_lines():
                lines.append(line)
                connected.set()

    listener = threading.Thread(target=listen)
    listener.start()
    assert connected.wait(30)
    before = api.create("/policies", name=unique)["id"]
    wait_until(lambda: before in "".join(lines))
    api.call("DELETE", f"/tokens/{made['id']}", status=204)
    after = api.create("/policies", name=f"{unique}-after")["id"]
    listener.join(30)
    assert not listener.is_alive()
    assert after not in "".join(lines)
    assert "catalog.token" not in "".join(lines)


def test_a_time_that_is_none_is_refused(here: Path) -> None:
    del here
    done = called("token", "create", "--name", "x", "--role", "viewer", "--expires", "soon")
    assert done.code == 2
    assert "such as 2026-12-27, or 90d" in done.err
