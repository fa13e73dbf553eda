"""History from the terminal: rebuild and compare, replay, why, prune, dead letters, and a log that was lost."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import nats
import pytest

from bus.connection import connect
from tests.made import flow
from tests.ports import reserved_port
from tests.running import FLOWS, ROOT, Client, Running
from tests.support import wait_until

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("history") / "data").start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def api(running: Running) -> Client:
    return running.client()


def flows(running: Running, *arguments: str, code: int = 0) -> str:
    """Run a command on the running system and return what it says."""
    command = [*FLOWS, *arguments, *([] if arguments[0] == "diff" else ["--data", str(running.folder)])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout + (done.stderr if code else "")


def run(api: Client, made: dict[str, str]) -> dict[str, str]:
    started = api.call("POST", f"/protection-flows/{made['id']}/execute", status=202)
    ended: dict[str, str] = api.ended(started["id"])
    return ended


@pytest.fixture(scope="module")
def executions(api: Client) -> dict[str, dict[str, str]]:
    """Some history: a success over a limit, failures, a skip, a flow that is gone."""
    good = flow(api, "good", vms=4, max_concurrent_jobs=1, config={"seconds": 0.6})
    first = api.call("POST", f"/protection-flows/{good['id']}/execute", status=202)
    api.call("POST", f"/protection-flows/{good['id']}/execute", status=409)
    bad = flow(api, "bad", vms=2, config={"failure_rate": 1.0})
    gone = flow(api, "gone", vms=1)
    run(api, gone)
    api.call("DELETE", f"/protection-flows/{gone['id']}", status=204)
    return {"good": api.ended(first["id"]), "bad": run(api, bad)}


def test_a_rebuilt_database_has_no_differences_and_can_take_over(
    running: Running, api: Client, executions: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    other = tmp_path / "other.db"
    flows(running, "rebuild", "--into", str(other))
    assert flows(running, "diff", str(running.folder / "flows.db"), str(other)) == "0 differences\n"
    run(api, flow(api, "later", vms=1))
    assert "differences" in flows(running, "diff", str(running.folder / "flows.db"), str(other), code=1)
    # switching over: a second recorder and a second API on the new database, beside the first ones
    env = {
        "FLOWS_NATS_URL": running.nats_url,
        "FLOWS_DATABASE_URL": f"sqlite+aiosqlite:///{other}",
        "FLOWS_ADMIN_TOKEN_FILE": str(running.folder / "admin-token"),
        "FLOWS_PORT": str(port := reserved_port()),
        "PATH": "/usr/bin:/bin",
    }
    with subprocess.Popen([*FLOWS, "serve", "recorder", "api"], cwd=ROOT, env=env, stderr=subprocess.DEVNULL) as second:
        there = Client(f"http://127.0.0.1:{port}", running.token)
        there.until_up()
        found = there.until("/executions", lambda found: found == api.get("/executions"))
        assert found["total"]
        made = flow(there, "made over there")
        assert run(there, made)["status"] == "success"
        there.close()
        api.until("/executions", lambda found: found["executions"][0]["flow_name"] == "made over there")
        command = [*FLOWS, "diff", str(running.folder / "flows.db"), str(other)]
        # each of the two recorders comes to the end of the log in its own time
        wait_until(lambda: subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60).returncode == 0)
        second.terminate()


def test_every_decision_is_the_same_today(running: Running, executions: dict[str, dict[str, str]]) -> None:
    assert ", 0 of them different today" in flows(running, "replay")
    said = flows(running, "replay", executions["good"]["id"])
    assert [line.split()[3 + line.startswith(" =")] for line in said.splitlines() if "flow.started" in line]
    for word in ("command.flow.execute", "flow.started", "flow.planned", "backup.requested", "backup.completed"):
        assert word in said
    assert said.strip().endswith("decisions are the same today")
    assert "knows no execution 'x'" in flows(running, "replay", "x", code=1)


def test_messages_are_sent_again_to_other_subjects(running: Running, executions: dict[str, dict[str, str]]) -> None:
    async def listen() -> list[str]:
        client = await nats.connect(running.subscriber_url)
        subscription = await client.subscribe("replay.>")
        await client.flush()
        command = [
            *FLOWS,
            "replay",
            executions["bad"]["id"],
            "--publish-to",
            "replay.one",
            "--data",
            str(running.folder),
        ]
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.DEVNULL)
        seen = []
        while not seen or not seen[-1].startswith("replay.one.flow.completed."):
            seen.append((await subscription.next_msg(20)).subject)
        assert await process.wait() == 0
        await client.close()
        return seen

    seen = asyncio.run(listen())
    assert [subject.split(".")[2:4] for subject in seen][:2] == [["command", "flow"], ["flow", "started"]]
    for wrong in ("flow", "", "a b", ">", "command.*"):
        flows(running, "replay", "--publish-to", wrong, code=2)


def test_the_log_is_filtered(running: Running, api: Client, executions: dict[str, dict[str, str]]) -> None:
    bad = executions["bad"]
    by_name = flows(running, "log", "flow.*", "--flow", "bad").splitlines()
    assert [line.split()[3] for line in by_name] == ["flow.started", "flow.planned", "flow.completed"]
    assert flows(running, "log", "flow.*", "--flow", bad["flow_id"]).splitlines() == by_name
    of_execution = flows(running, "log", "--execution", bad["id"]).splitlines()
    assert len(of_execution) == 1 + 3 + 2 * 3
    assert flows(running, "log", "--since", "2999-01-01T00:00") == ""
    assert flows(running, "log", "--until", "2020-01-01T00:00") == ""
    assert "a time is needed" in flows(running, "log", "--since", "soon", code=2)
    job = api.get(f"/executions/{bad['id']}/jobs")["jobs"][0]
    assert {line.split()[3] for line in flows(running, "log", "backup", "--vm", job["context_id"]).splitlines()} == {
        *("backup.requested", "backup.started", "backup.failed")
    }
    listed = api.get("/events/log", params={"pattern": "flow.*", "flow": "bad"})
    assert [one["event"]["type"] for one in listed["events"]] == ["flow.started", "flow.planned", "flow.completed"]
    assert api.get("/events/log", params={"execution": bad["id"], "limit": 100})["total"] == len(of_execution)
    assert api.get("/events/log", params={"pattern": "backup", "vm": job["context_id"]})["total"] == 3
    assert api.get("/events/log", params={"after": listed["events"][0]["sequence"], "flow": "bad"})["total"] > 0
    back = {"pattern": "flow.*", "flow": "bad", "before": listed["events"][2]["sequence"], "limit": 1}
    assert [one["event"]["type"] for one in api.get("/events/log", params=back)["events"]] == ["flow.planned"]
    back = {**back, "before": 2**53, "limit": 3}
    assert api.get("/events/log", params=back)["events"] == listed["events"][::-1]
    api.call("GET", "/events/log", params={"pattern": "a.b.c.d.e"}, status=400)


def test_it_is_explained(running: Running, api: Client, executions: dict[str, dict[str, str]]) -> None:
    good, bad_one = executions["good"], executions["bad"]
    said = flows(running, "why", good["id"])
    assert said.startswith(f"Execution {good['id']}")
    assert "has no schedule: it runs when somebody asks for it." in said
    assert "admin asked on" in said
    assert "for a slot of the flow, which backs up 1 VM at a time" in said
    assert "as success: all 4 VMs were backed up." in said
    assert flows(running, "explain", good["id"]) == said
    assert flows(running, "why", good["id"], "--log") == said
    found = json.loads(flows(running, "why", good["id"], "--json"))
    assert found["execution_id"] == good["id"]
    assert {cause["by"] for one in found["sentences"] for cause in one["causes"]} >= {"admin"}
    again = flows(running, "why", "good")  # it was asked for once more while it ran
    assert "was still running (overlap policy skip)" in again
    assert flows(running, "why", "good", "--log") == again
    path = f"/protection-flows/{bad_one['flow_id']}"
    bad = api.get(f"{path}/explain")["lines"]
    assert any("failed, the first at" in line for line in bad)
    assert any("as error: both VMs failed" in line for line in bad)
    assert api.get(f"{path}/explain", params={"at": bad_one["started_at"]})["lines"] == bad
    assert api.get(f"/executions/{bad_one['id']}/explain")["lines"] == bad[:-1]
    api.call("GET", "/executions/nothing/explain", status=404)
    schedule = api.create(
        "/schedules",
        name="nightly",
        cron_expression="0 2 * * *",
        exclusions=[{"name": "weekends", "weekdays": ["sat", "sun"]}],
    )
    api.call("PUT", path, {"schedule_id": schedule["id"]})
    today = datetime.now(UTC).replace(hour=2, minute=0, second=0, microsecond=0)
    saturday = today + timedelta(days=(5 - today.weekday()) % 7 + 7)
    assert "but that is excluded: weekends." in flows(running, "why", "bad", saturday.isoformat())
    yesterday = (today - timedelta(days=1)).isoformat()
    assert "There was no such flow yet on" in flows(running, "why", "bad", yesterday)
    monday = (saturday + timedelta(days=2, minutes=90)).isoformat()
    assert "does not match on" in flows(running, "why", "bad", monday)
    assert "there is no flow 'x', nor an execution" in flows(running, "why", "x", code=1)


def test_statistics_equal_a_recount(api: Client, executions: dict[str, dict[str, str]]) -> None:
    del executions
    found = api.get("/protection-flows/statistics")
    listed = [one for one in api.get("/executions", params={"limit": 500})["executions"] if one["completed_at"]]
    assert found["total"]["executions"] == len(listed)
    assert found["total"]["failed"] == sum(one["status"] == "error" for one in listed)
    assert found["total"]["bytes_transferred"] == sum(one["bytes_transferred"] for one in listed)
    assert sum(day["executions"] for day in found["days"]) == len(listed)


def test_dead_letters_are_listed_shown_and_settled(running: Running) -> None:
    assert flows(running, "dead", "list") == "every message could be used\n"

    async def garbage() -> None:
        client = await connect(running.nats_url, "scheduler")
        await client.jetstream().publish("flow.due.x", b"{\x00 no json \xff")
        await client.close()

    asyncio.run(garbage())
    deadline = time.monotonic() + 20
    while "1 messages could not be used" not in (listed := flows(running, "dead", "list")):
        assert time.monotonic() < deadline
    sequence = listed.split()[0]
    assert "no json" in flows(running, "dead", "show", sequence)
    assert "still cannot be read" in flows(running, "dead", "retry", sequence, code=1)
    flows(running, "dead", "dismiss", sequence)
    assert flows(running, "dead", "list") == "every message could be used\n"
    assert "is none of those" in flows(running, "dead", "dismiss", sequence, code=1)
    assert ", 0 of them different today" in flows(running, "replay")


def test_a_lost_log_is_restored_from_the_tables(tmp_path: Path) -> None:
    running = Running(tmp_path / "data").start()
    api = running.client()
    made = flow(api, "flow", vms=3)
    before = run(api, made)
    history = api.get(f"/executions/{before['id']}/events", params={"limit": 500})
    assert running.stop() == 0
    shutil.rmtree(running.folder / "jetstream")
    said = flows(running, "restore-log", "--from", str(running.folder / "flows.db"))
    assert said == ""
    assert "is not empty" in flows(running, "restore-log", "--from", str(running.folder / "flows.db"), code=1)
    running.start()
    api = running.client()
    assert api.ended(before["id"]) == before
    assert api.get(f"/executions/{before['id']}/events", params={"limit": 500}) == history
    assert run(api, made)["status"] == "success"
    assert flows(running, "doctor").count("✗") == 0
    assert ", 0 of them different today" in flows(running, "replay")
    other = tmp_path / "other.db"
    flows(running, "rebuild", "--into", str(other))
    assert flows(running, "diff", str(running.folder / "flows.db"), str(other)) == "0 differences\n"
    assert running.stop() == 0


def test_history_is_pruned_and_totals_stay(tmp_path: Path) -> None:
    running = Running(tmp_path / "data").start()
    try:
        api = running.client()
        made = flow(api, "flow", vms=1)
        ids = [run(api, made)["id"] for _ in range(3)]
        assert "a number with m, h, d, w or y" in flows(running, "prune", "--keep", "long", code=2)
        flows(running, "prune", "--keep", "0m")
        api.until("/executions", lambda found: found["total"] == 1)
        assert api.get("/executions")["executions"][0]["id"] == ids[-1]  # the last good backup of its VM
        status = api.get(f"/protection-flows/{made['id']}")["status"]
        assert (status["total_executions"], status["successful_executions"]) == (3, 3)
        assert flows(running, "doctor").count("✗") == 0
        other = tmp_path / "other.db"
        flows(running, "rebuild", "--into", str(other))
        assert flows(running, "diff", str(running.folder / "flows.db"), str(other)) == "0 differences\n"
    finally:
        running.stop()
