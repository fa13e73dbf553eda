"""Notifications over HTTP, on a running engine."""

from __future__ import annotations

from typing import Any

import pytest

from tests.running import Client, Running

HOOK = {"url": "https://alerts.example.com/hook", "secret_env": "ALERTS_KEY"}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"url": "https://user:word@example.com/"}, "url"),
        ({"url": "ftp://example.com/"}, "url"),
        ({"url": None}, "url"),
        ({"secret_env": None}, "secret_env"),
        ({"secret_env": "s3cr3t-itself"}, "secret_env"),
        ({"secret_file": "relative/file"}, "secret_file"),
        ({"secret_file": "/run/secrets/key"}, "secret_file"),
        ({"receiver": "apprise"}, "url"),
        ({"receiver": "apprise", "url": None, "secret_env": None}, "secret_env"),
        ({"digest_minutes": 10, "digest_at": "07:30"}, "digest_at"),
        ({"digest_minutes": 0}, "digest_minutes"),
        ({"digest_at": "7:30"}, "digest_at"),
        ({"digest_empty": True}, "digest_empty"),
        ({"timezone": "Nowhere/Atlantis"}, "timezone"),
        ({"events": []}, "events"),
        ({"events": ["notification.delivered"]}, "events[0]"),
        ({"events": ["flow.missed", "flow.missed"]}, "events"),
        ({"flows": ["there is no such flow"]}, "flows[0]"),
        ({"flows": ["no-such-flow"]}, "flows"),
        ({"severity": "fatal"}, "severity"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_what_is_wrong_is_named(api: Client, unique: str, given: dict[str, Any], field: str) -> None:
    refused = api.call("POST", "/notifications", {"name": unique, **HOOK, **given}, status=422)
    assert field in [one["field"] for one in refused["errors"]]
    assert "s3cr3t-itself" not in str(refused)


def test_a_test_message_does_not_go_to_this_machine(api: Client, unique: str) -> None:
    made = api.create("/notifications", name=unique, url="https://127.0.0.1:1/", secret_env="PATH")
    tested = api.call("POST", f"/notifications/{made['id']}/test")
    assert (tested["delivered"], tested["status"]) == (False, None)
    assert tested["reply"] == (
        "127.0.0.1, which is this machine: it is not called unless FLOWS_WEBHOOK_ALLOW allows it"
    )
    api.call("PUT", f"/notifications/{made['id']}", {"secret_env": "NOT_THERE"})
    tested = api.call("POST", f"/notifications/{made['id']}/test")
    assert "NOT_THERE is empty or not there" in tested["reply"]


def test_deliveries_of_nobody(api: Client, unique: str) -> None:
    made = api.create("/notifications", name=unique, **HOOK)
    assert api.get(f"/notifications/{made['id']}/deliveries") == {"deliveries": [], "total": 0}
    assert made["id"] not in str(api.get("/notifications/deliveries?state=waiting"))
    api.call("GET", f"/notifications/{made['id']}/deliveries?state=lost", status=400)
    api.call("GET", "/notifications/nobody/deliveries", status=404)
    api.call("POST", "/notifications/nobody/test", status=404)


def test_who_sees_some_groups_sees_no_notification(api: Client, running: Running, unique: str) -> None:
    made = api.create("/notifications", name=unique, **HOOK)
    group = api.create("/machine-groups", name=unique)
    secret = api.create("/tokens", name=unique, role="admin", groups=[group["id"]])["secret"]
    limited = Client(running.url, secret)
    try:
        assert limited.get("/notifications") == {"notifications": [], "total": 0}
        limited.call("POST", "/notifications", {"name": "x", **HOOK}, status=403)
        for method, path in (
            ("GET", f"/notifications/{made['id']}"),
            ("GET", f"/notifications/{made['id']}/deliveries"),
            ("POST", f"/notifications/{made['id']}/test"),
            ("DELETE", f"/notifications/{made['id']}"),
        ):
            limited.call(method, path, status=404)
        assert limited.get("/notifications/deliveries") == {"deliveries": [], "total": 0}
    finally:
        limited.close()
