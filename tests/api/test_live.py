"""Server-Sent Events: every accepted message once, in order, from where a client left off."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.api.test_contract import flow
from tests.running import Client, Running


@contextmanager
def stream(running: Running, *, last: str | None = None, **query: str) -> Iterator[Iterator[dict[str, Any]]]:
    headers = {"Authorization": f"Bearer {running.token}", **({"Last-Event-ID": last} if last else {})}
    with httpx.stream("GET", f"{running.url}/api/v1/events", headers=headers, params=query, timeout=30) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == ": connected"
        yield parsed(lines)


def parsed(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    event: dict[str, Any] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if name:
            event[name] = value
        elif "data" in event:
            yield {**event, "data": json.loads(event["data"])}
            event = {}


def test_a_run_is_seen_live_and_a_cut_stream_goes_on_where_it_was(running: Running, api: Client, unique: str) -> None:
    made = flow(api, unique, vms=2)
    with stream(running, flow_id=made["id"]) as events:
        threading.Timer(0.2, api.call, ["POST", f"/protection-flows/{made['id']}/execute"], {"status": 202}).start()
        first = next(events)
        second = next(events)
    assert (first["event"], second["event"]) == ("command.flow.execute", "flow.started")
    assert first["data"]["specversion"] == "1.0"
    started = second["data"]["data"]["execution_id"]
    api.until(f"/protection-flows/{made['id']}/executions", lambda found: found["total"])
    api.ended(started)
    seen = [second]
    with stream(running, last=second["id"], execution_id=started) as events:
        for event in events:
            seen.append(event)
            if event["event"] == "flow.completed":
                break
    on_the_log = api.get(f"/executions/{started}/events", params={"limit": 500})["events"]
    assert [int(event["id"]) for event in seen] == [one["sequence"] for one in on_the_log][1:]
    assert [event["event"] for event in seen] == [one["event"]["type"] for one in on_the_log][1:]


def test_types_are_filtered(running: Running, api: Client, unique: str) -> None:
    with stream(running, type="catalog") as events:
        threading.Timer(0.2, api.create, ["/policies"], {"name": unique}).start()
        event = next(events)
        while event["data"]["data"]["definition"]["name"] != unique:
            event = next(events)
        assert event["event"] == "catalog.policy"


@pytest.mark.parametrize("query", ["flow_id=a.b", "type=*", "execution_id=>"])
def test_bad_filters(api: Client, query: str) -> None:
    api.call("GET", f"/events?{query}", status=400)
    api.call("GET", "/events", status=400, headers={"Last-Event-ID": "yesterday"})
    problem = api.call("GET", "/events", status=400, headers={"Last-Event-ID": "9" * 19})
    assert "not of this log" in problem["detail"]


def test_metrics(running: Running, api: Client, unique: str) -> None:
    api.ended(api.call("POST", f"/protection-flows/{flow(api, unique)['id']}/execute", status=202)["id"])
    text = httpx.get(f"{running.url}/metrics").text
    assert 'flows_executions{status="success"}' in text
    assert "flows_projection_lag_messages" in text
    assert 'flows_flows{enabled="true"}' in text
