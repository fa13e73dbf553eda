"""The workers of a running engine."""

from __future__ import annotations

from tests.running import Client


def test_the_workers_of_an_engine_are_listed(api: Client) -> None:
    found = api.until("/workers", lambda found: bool(found["workers"]))["workers"]
    assert all({"simulated", "directory"} <= set(one["engines"]) for one in found)
    assert all(one["slots"] and one["last_seen_at"] for one in found)
    versions = api.until("/workers", lambda found: all(one["version"] for one in found["workers"]))
    assert {one["state"] for one in versions["workers"]} <= {"running", "behind"}
