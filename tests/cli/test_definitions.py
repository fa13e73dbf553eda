"""`flows export` and `flows apply`: the same definitions elsewhere; differences are shown before they are made."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.declare import SECTIONS, difference
from tests.running import FLOWS, ROOT, Client, Running

pytestmark = pytest.mark.server


def flows(running: Running, *arguments: str) -> subprocess.CompletedProcess[str]:
    options = ["--url", running.url, "--data", str(running.folder)]
    return subprocess.run([*FLOWS, *arguments, *options], cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_an_export_applied_to_an_empty_system_gives_the_same_definitions(tmp_path: Path) -> None:
    running = Running(tmp_path / "one", "--demo").start()
    api = running.client()
    (flow,) = api.get("/protection-flows")["flows"]
    api.call("PUT", f"/protection-flows/{flow['id']}", {"labels": {"tier": "gold"}, "enabled": False, "priority": 7})
    single = {"flow_type": "backup", "target_type": "vm", "target_id": "demo-vm-1"}
    api.create("/protection-flows", name="one VM", repository_id=flow["repository_id"], **single)
    api.call("PATCH", f"/machine-groups/{flow['target_id']}/vms/demo-vm-2", {"enabled": False, "priority": 3})
    nightly = api.create("/schedules", name="nightly", cron_expression="0 2 * * *")
    api.call("PUT", f"/machine-groups/{flow['target_id']}", {"schedule_id": nightly["id"], "max_concurrent_vms": 2})
    exported = flows(running, "export")
    assert exported.returncode == 0, exported.stderr
    running.stop()
    file = tmp_path / "flows.yaml"
    file.write_text(exported.stdout)
    other = Running(tmp_path / "two").start()
    try:
        dry = flows(other, "apply", "--file", str(file), "--dry-run")
        assert dry.stdout.count("+ ") == sum(map(len, yaml.safe_load(exported.stdout).values()))
        assert flows(other, "export").stdout.count("name:") == 0
        applied = flows(other, "apply", "--file", str(file))
        assert applied.returncode == 0, applied.stderr
        assert flows(other, "export").stdout == exported.stdout
        assert "nothing to do" in flows(other, "apply", "--file", str(file)).stdout
        changed = yaml.safe_load(exported.stdout)
        changed["policies"][0]["keep_last"] = 99
        changed["groups"][0]["members"] = changed["groups"][0]["members"][1:]
        del changed["flows"][1]
        file.write_text(yaml.safe_dump(changed))
        said = flows(other, "apply", "--file", str(file), "--prune").stdout
        assert "keep_last: None → 99" in said
        assert "- flows: one VM" in said
        assert yaml.safe_load(flows(other, "export").stdout) == changed
        changed["flows"][0]["repository"] = "nowhere"
        file.write_text(yaml.safe_dump(changed))
        wrong = flows(other, "apply", "--file", str(file))
        assert wrong.returncode == 1
        assert "there is no 'nowhere' among the repositories" in wrong.stderr
        file.write_text("flows: [{colour: red}]")
        assert "flows[0] has no 'name'" in flows(other, "apply", "--file", str(file)).stderr
    finally:
        other.stop()


def test_differences() -> None:
    there: dict[str, Any] = {"policies": [{"name": "a", "keep_last": 1, "enabled": True}, {"name": "b"}]}
    wanted: dict[str, Any] = {"policies": [{"name": "a", "keep_last": 2}, {"name": "c"}], "schedules": [{"name": "s"}]}
    found = difference(there, wanted, prune=True)
    assert [(change.act, change.section.name, change.name) for change in found] == [
        ("create", "schedules", "s"),
        ("update", "policies", "a"),
        ("create", "policies", "c"),
        ("delete", "policies", "b"),
    ]
    assert found[1].fields == {"keep_last": (1, 2)}
    assert difference(there, there, prune=True) == []
    assert [section.name for section in SECTIONS][-2:] == ["flows", "notifications"]  # each after what it refers to


def test_freeze_and_thaw(running: Running, api: Client) -> None:
    assert "there is no freeze" in flows(running, "thaw").stderr
    wrong = flows(running, "freeze", "--until", "tomorrow", "--reason", "x")
    assert (wrong.returncode, "a date and time is needed" in wrong.stderr) == (2, True)
    far = flows(running, "freeze", "--until", "2199-12-27T06:00:00+01:00", "--reason", "closing")
    assert (far.returncode, "366 days" in far.stderr) == (1, True)
    day = f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%d}"
    frozen = flows(running, "freeze", "--until", f"{day}T06:00:00+01:00", "--reason", "closing")
    assert frozen.stdout == f"No scheduled start until {day}T05:00:00Z: closing\n"
    assert api.get("/freeze")["reason"] == "closing"
    assert "has ended" in flows(running, "thaw").stdout
