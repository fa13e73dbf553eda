"""Time over HTTP: what is said to run next is what fires; occurrences, calendar, backfill, freeze, preview."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.made import flow
from tests.running import Client
from tests.support import wait_until


def scheduled(api: Client, unique: str, cron: str, vms: int = 1, **given: Any) -> dict[str, Any]:
    fields = {field: given.pop(field) for field in list(given) if field not in {"config", "overlap_policy"}}
    schedule = api.create("/schedules", name=unique, cron_expression=cron, **fields)
    return flow(api, unique, vms=vms, schedule_id=schedule["id"], **given)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def thawed(api: Client) -> Iterator[None]:
    yield
    api.http.delete("/freeze")


def test_null_comes_with_a_reason(api: Client, unique: str) -> None:
    def why(flow_id: str) -> tuple[Any, Any]:
        status = api.get(f"/protection-flows/{flow_id}")["status"]
        return status["next_execution_time"], status["next_execution_reason"]

    bare = flow(api, unique)
    assert why(bare["id"]) == (None, "the flow has no schedule")
    made = scheduled(api, f"{unique}-2", "0 2 * * *", end_date="2026-01-01")
    assert why(made["id"]) == (None, "its schedule has no more occurrences")
    api.call("PATCH", f"/schedules/{made['schedule_id']}/disable")
    assert why(made["id"]) == (None, f"schedule '{unique}-2' is disabled")
    api.call("PATCH", f"/protection-flows/{made['id']}/disable")
    assert why(made["id"]) == (None, "the flow is disabled")
    api.call("PUT", f"/schedules/{made['schedule_id']}", {"end_date": None})
    api.call("PATCH", f"/schedules/{made['schedule_id']}/enable")
    api.call("PATCH", f"/protection-flows/{made['id']}/enable")
    at, reason = why(made["id"])
    assert (at[11:], reason) == ("02:00:00Z", None)


def test_a_schedule_with_everything_comes_back_as_it_was_sent(api: Client, unique: str) -> None:
    sent = {
        "name": unique,
        "cron_expression": "0 2 * * *",
        "more_expressions": ["0 14 * * sat"],
        "timezone": "Europe/Berlin",
        "dst_gap": "skip",
        "dst_fold": "both",
        "exclusions": [
            {
                "name": "closing",
                "weekdays": ["fri"],
                "first_date": "2026-12-01",
                "last_date": "2026-12-31",
                "from_time": "22:00:00",
                "to_time": "06:00:00",
            }
        ],
        "inclusions": ["2026-12-24T13:00:00"],
        "start_date": "2026-11-01",
        "end_date": "2027-11-01",
        "jitter_seconds": 300,
    }
    made = api.create("/schedules", **sent)
    assert {field: made[field] for field in sent} == sent
    assert api.get(f"/schedules/{made['id']}") == made
    notes = api.get(f"/schedules/{made['id']}/preview", params={"from": "2026-12-04T00:00:00Z", "count": 4})
    assert [(run["local"][:16], run["note"]) for run in notes["next_runs"]] == [
        ("2026-12-04T02:00", None),
        ("2026-12-05T02:00", "excluded: closing"),
        ("2026-12-05T14:00", None),
        ("2026-12-06T02:00", None),
    ]
    unsaved = api.call("POST", "/schedules/preview?count=500", sent)
    assert unsaved == api.get(f"/schedules/{made['id']}/preview", params={"count": 500})
    assert api.call("POST", "/schedules/preview", {**sent, "cron_expression": "0 0 31 2 *"}, status=422)["errors"]
    for field, value in (
        ("exclusions", [{"name": "x"}]),
        ("exclusions", [{"name": "x", "weekdays": ["x"]}]),
        ("exclusions", [{"name": "x", "nonsense": 1}]),
        ("inclusions", ["2026-12-24T13:00:00Z"]),
        ("jitter_seconds", -1),
        ("more_expressions", ["x"]),
        ("end_date", "2026-01-01"),
    ):
        problem = api.call("PUT", f"/schedules/{made['id']}", {field: value}, status=422)
        assert problem["errors"][0]["field"].startswith(field)


def window() -> dict[str, str]:
    here = datetime.now(UTC)
    return {"from": text(here - timedelta(minutes=5)), "to": text(here + timedelta(minutes=9))}


def outcome(api: Client, made: dict[str, Any], wanted: str) -> list[dict[str, Any]]:
    """Return a flow's occurrences once the first one has this outcome."""
    address = f"/protection-flows/{made['id']}/occurrences"
    return wait_until(lambda: _occurrences(api, address, wanted), within=90)


def _occurrences(api: Client, address: str, wanted: str) -> list[dict[str, Any]] | None:
    found: list[dict[str, Any]] = api.get(address, params=window())["occurrences"]
    return found if found[0]["outcome"] == wanted else None


def test_what_is_said_to_run_next_is_what_fires(api: Client, unique: str) -> None:
    made = scheduled(api, unique, "* * * * *")
    expected = moment(api.get(f"/protection-flows/{made['id']}")["status"]["next_execution_time"])
    first, second, *rest = outcome(api, made, "executed")
    assert moment(first["occurrence"]) == expected
    assert api.ended(first["execution_id"])["occurrence"] == first["occurrence"]
    assert {one["outcome"] for one in (second, *rest)} == {"expected"}
    assert moment(second["fires_at"]) == moment(second["occurrence"]) == expected + timedelta(minutes=1)
    api.call("PATCH", f"/protection-flows/{made['id']}/disable")
    assert len(api.get(f"/protection-flows/{made['id']}/occurrences")["occurrences"]) == 1


def test_what_falls_into_a_freeze_is_skipped(api: Client, unique: str, thawed: None) -> None:
    made = scheduled(api, unique, "* * * * *")
    address = f"/protection-flows/{made['id']}"
    before = moment(api.get(address)["status"]["next_execution_time"])
    api.call("PUT", "/freeze", {"until": text(datetime.now(UTC) + timedelta(minutes=3)), "reason": "closing"})
    until = moment(api.get("/freeze")["until"])
    next_run = moment(api.get(address)["status"]["next_execution_time"])
    assert until <= next_run < until + timedelta(minutes=1)
    first, *rest = outcome(api, made, "skipped")
    assert moment(first["occurrence"]) == before
    assert first["reason"].startswith("frozen: ")
    shown = [one for one in rest if one["outcome"] == "frozen"]
    assert shown, "the freeze lasts for some minutes more"
    assert all(moment(one["occurrence"]) < until for one in shown)
    assert all(one["reason"].endswith(": closing") for one in shown)
    assert moment(rest[len(shown)]["fires_at"]) == next_run
    api.call("DELETE", "/freeze", status=204)
    api.call("GET", "/freeze", status=404)
    api.call("DELETE", "/freeze", status=404)
    assert moment(api.get(address)["status"]["next_execution_time"]) < next_run
    api.call("PATCH", f"{address}/disable")
    for wrong in ({"until": text(before), "reason": "x"}, {"until": "2026-01-01T00:00:00", "reason": "x"}, {}):
        api.call("PUT", "/freeze", wrong, status=422)


def test_a_backfill_fills_what_is_missing_and_no_more(api: Client, unique: str) -> None:
    made = scheduled(api, unique, "0 * * * *")
    address = f"/protection-flows/{made['id']}/backfill"
    range_ = {"from": "2026-11-01T00:00:00Z", "to": "2026-11-01T05:00:00Z"}
    dry = api.call("POST", address, {**range_, "dry_run": True}, status=202)
    hours = [f"2026-11-01T{hour:02}:00:00Z" for hour in range(5)]
    assert (dry["backfill_id"], dry["occurrences"]) == (None, hours)
    done = api.call("POST", address, {**range_, "max_concurrent": 2}, status=202)
    executions = api.until(
        f"/executions?backfill_id={done['backfill_id']}",
        lambda found: found["total"] == 5 and all(one["completed_at"] for one in found["executions"]),
    )["executions"]
    assert sorted(one["occurrence"] for one in executions) == hours
    assert {(one["status"], one["execution_type"]) for one in executions} == {("success", "manual")}
    again = api.call("POST", address, range_, status=202)
    assert (again["backfill_id"], again["occurrences"]) == (None, [])
    assert api.call("POST", address, {**range_, "mode": "failed"}, status=202)["occurrences"] == []
    assert len(api.call("POST", address, {**range_, "mode": "all", "dry_run": True}, status=202)["occurrences"]) == 5
    listed = api.get(f"/protection-flows/{made['id']}/occurrences", params=range_)["occurrences"]
    assert [(one["occurrence"], one["outcome"], one["status"]) for one in listed] == [
        (hour, "executed", "success") for hour in hours
    ]
    for wrong in (
        {"from": range_["to"], "to": range_["from"]},
        {"from": range_["from"], "to": text(datetime.now(UTC) + timedelta(hours=1))},
        {"from": "2020-01-01T00:00:00Z", "to": range_["to"]},
        {"from": "2026-01-01T00:00:00Z", "to": range_["to"]},
        {"from": "x", "to": "y"},
        {**range_, "mode": "x"},
    ):
        api.call("POST", address, wrong, status=422)
    api.call("POST", f"/protection-flows/{flow(api, unique + '-2')['id']}/backfill", range_, status=409)
    api.call("POST", "/protection-flows/none/backfill", range_, status=404)


def test_a_backfill_is_cancelled_as_one(api: Client, unique: str) -> None:
    made = scheduled(api, unique, "0 * * * *", config={"seconds": 60})
    range_ = {"from": "2026-11-01T00:00:00Z", "to": "2026-11-01T05:00:00Z"}
    done = api.call("POST", f"/protection-flows/{made['id']}/backfill", range_, status=202)
    address = f"/protection-flows/{made['id']}/backfill/{done['backfill_id']}/cancel"
    api.call("POST", address, status=202)
    ended = api.until(
        f"/executions?backfill_id={done['backfill_id']}", lambda found: found["executions"][0]["completed_at"]
    )
    assert [one["status"] for one in ended["executions"]] == ["cancelled"]
    listed = api.get(f"/protection-flows/{made['id']}/occurrences", params=range_)["occurrences"]
    assert sorted(one["outcome"] for one in listed) == ["executed", *["skipped"] * 4]
    api.call("POST", address, status=409)


def test_the_calendar_is_over_all_flows(api: Client, unique: str) -> None:
    spread = scheduled(api, unique, "0 3 1 1 *", jitter_seconds=3600)
    other = scheduled(api, f"{unique}-2", "0 3 1 1 *", timezone="Europe/Berlin")
    started = api.call("POST", f"/protection-flows/{other['id']}/execute", status=202)
    api.ended(started["id"])
    range_ = {"from": "2026-12-31T12:00:00Z", "to": "2027-01-01T12:00:00Z"}
    answer = api.get("/calendar", params=range_)
    mine = {one["flow_id"]: one for one in answer["entries"] if one["flow_id"] in {spread["id"], other["id"]}}
    assert mine[other["id"]]["fires_at"] == "2027-01-01T02:00:00Z"
    assert mine[other["id"]]["expected_seconds"] is not None
    assert mine[spread["id"]]["occurrence"] == "2027-01-01T03:00:00Z"
    assert mine[spread["id"]]["expected_seconds"] is None
    shown = api.get(f"/protection-flows/{spread['id']}")["status"]["next_execution_time"]
    assert shown == mine[spread["id"]]["fires_at"]
    assert answer["complete"] is True
    api.call("GET", "/calendar", params={"from": range_["to"], "to": range_["from"]}, status=422)
    api.call("GET", "/calendar", params={"from": "2026-01-01T00:00:00Z", "to": "2029-01-01T00:00:00Z"}, status=422)


def test_what_was_missed_while_paused_runs_only_when_it_is_asked_for(api: Client, unique: str) -> None:
    made = scheduled(api, unique, "* * * * *", catch_up="last")
    address = f"/protection-flows/{made['id']}"
    api.call("PATCH", f"{address}/disable")
    tick = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    wait_until(lambda: datetime.now(UTC) > tick + timedelta(seconds=1), within=70)  # what passes meanwhile is missed
    assert api.call("PATCH", f"{address}/enable", params={"run_missed": True})["enabled"] is True
    found = api.until(f"{address}/executions", lambda found: found["total"], within=20)
    assert moment(found["executions"][0]["occurrence"]) == tick
    api.call("PATCH", f"{address}/disable")
