"""`flows notification`, on a running engine that may call this machine: definitions, the test button, deliveries."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.running import FLOWS, ROOT, Running
from tests.support import wait_until
from tests.webhooks import webhook

pytestmark = pytest.mark.server


def flows(running: Running, *arguments: str) -> subprocess.CompletedProcess[str]:
    options = ["--url", running.url, "--data", str(running.folder)]
    return subprocess.run([*FLOWS, *arguments, *options], cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_who_is_told_of_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWS_WEBHOOK_ALLOW", "localhost")
    monkeypatch.setenv("HOOK_KEY", "a-key-of-the-test")
    running = Running(tmp_path / "engine", "--demo").start()
    try:
        with webhook() as (url, bodies):
            api = running.client()
            (flow,) = api.get("/protection-flows")["flows"]
            refused = flows(running, "notification", "add", "ops", "--secret-env", "HOOK_KEY")
            assert "a webhook needs a `url`" in refused.stderr
            made = api.create("/notifications", name="ops", url=url, secret_env="HOOK_KEY", flows=[flow["name"]])
            assert (made["flows"], made["flow_names"], made["waiting"]) == ([flow["id"]], [flow["name"]], 0)
            changed = flows(running, "notification", "set", "ops", "--severity", "info")
            assert changed.stdout.startswith("changed notification 'ops': severity"), changed.stderr
            tested = flows(running, "notification", "test", "ops")
            assert "202 Accepted: thank you" in tested.stdout, tested.stderr
            assert [body["type"] for body in list(bodies)].count("test") == 1  # the demo's flow is told of beside it
            api.call("POST", f"/protection-flows/{flow['id']}/execute", status=202)
            found = wait_until(
                lambda: [
                    one
                    for one in api.get(f"/notifications/{made['id']}/deliveries", params={"state": "delivered"})[
                        "deliveries"
                    ]
                    if "succeeded" in one["title"] or "failed" in one["title"]
                ]
            )
            assert found[0]["reply"] == "202 Accepted: thank you"
            listed = flows(running, "notification", "list").stdout
            assert "ops" in listed
            assert flow["name"] in listed
            assert found[0]["title"][:20] in flows(running, "notification", "deliveries", "ops").stdout
        exported = yaml.safe_load(flows(running, "export").stdout)
        (entry,) = exported["notifications"]
        assert (entry["flows"], entry["url"], entry["secret_env"]) == ([flow["name"]], url, "HOOK_KEY")
        file = tmp_path / "flows.yaml"
        file.write_text(yaml.safe_dump(exported))
        assert "nothing to do" in flows(running, "apply", "--file", str(file)).stdout
        failed = flows(running, "notification", "test", "ops")
        assert failed.returncode == 1
        assert "does not take connections" in failed.stdout
        kept = [file for file in running.folder.rglob("*") if file.is_file()]
        kept += [Path(f"/proc/{pid}/cmdline") for pid in running.tree()]
        assert [file for file in kept if b"a-key-of-the-test" in file.read_bytes()] == []  # log, tables, log lines
    finally:
        assert running.stop() == 0
