"""An engine with what there is to see after a season of nights, some of which went wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.running import ROOT, Client, Running


@contextmanager
def populated(folder: Path, *, vms: int = 60, flows: int = 12, days: int = 30) -> Iterator[Running]:
    """Give an engine on a new data folder, with so much on its log."""
    size = ("--vms", str(vms), "--flows", str(flows), "--days", str(days), "--data", str(folder))
    # a process of its own: where Playwright runs there is an event loop already
    subprocess.run([sys.executable, "-m", "tests.page.seed", *size], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    running = Running(folder).start()
    try:
        running.client().until_ready()
        inhabit(running.client())
        yield running
    finally:
        running.stop()


def inhabit(api: Client) -> None:
    """Do what people do: make tokens, say who is told, await a worker, run a flow."""
    api.create("/tokens", name="night shift", role="operator")
    api.create("/tokens", name="dashboard", role="viewer")
    api.create("/workers", name="lyon-1", labels={"site": "lyon"})
    told = {"receiver": "webhook", "url": "http://127.0.0.1:9/hook", "secret_env": "FLOWS_HOOK_KEY"}
    api.create("/notifications", name="On call", severity="error", **told)
    api.ended(api.call("POST", "/protection-flows/flow-0003/execute", status=202)["id"])


def ids(api: Client) -> dict[str, str]:
    """Return what the addresses of places may name: an execution that went wrong in part, and what it was about."""
    (found,) = api.get("/executions", params={"status": "warning", "limit": 1})["executions"]
    flow = api.get(f"/protection-flows/{found['flow_id']}")
    (job, *_) = [
        one for one in api.get(f"/executions/{found['id']}/jobs", params={"limit": 500})["jobs"] if one["error_message"]
    ]
    return {
        "execution": found["id"],
        "flow": flow["id"],
        "group": flow["target_id"],
        "repository": flow["repository_id"],
        "vm": job["context_id"],
    }
