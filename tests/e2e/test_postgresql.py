"""The whole engine as distributed processes on PostgreSQL: every question is asked once, and SQLite says the same."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.distributed import TOKEN, Distributed
from tests.made import flow
from tests.running import Client

pytestmark = pytest.mark.server


@pytest.fixture
def distributed(tmp_path: Path, postgresql_url: str) -> Iterator[Distributed]:
    it = Distributed(tmp_path, postgresql_url)
    yield it
    it.stop()


def test_every_question_on_postgresql(distributed: Distributed, tmp_path: Path) -> None:
    api = Client(f"http://127.0.0.1:{distributed.port}", TOKEN)
    api.until_ready()
    assert api.get("/protection-flows")["total"] == 0
    schedule = api.create("/schedules", name="often", cron_expression="*/5 * * * *", jitter_seconds=20)
    made = flow(api, "flow", vms=3, schedule_id=schedule["id"], labels={"tier": "gold"}, max_concurrent_jobs=1)
    other = flow(api, "other", vms=2, config={"failure_rate": 1.0})
    good = api.call("POST", f"/protection-flows/{made['id']}/execute", status=202)
    bad = api.call("POST", f"/protection-flows/{other['id']}/execute", status=202)
    api.get("/queue")
    assert api.ended(good["id"])["status"] == "success"
    assert api.ended(bad["id"])["status"] == "error"
    for query, total in (
        ("label=tier:gold", 1),
        ("q=OTH", 1),
        ("status=success", 1),
        ("sort=-name", 2),
        ("offset=1", 2),
    ):
        assert api.get(f"/protection-flows?{query}")["total"] == total
    api.call("PUT", f"/protection-flows/{made['id']}", {"description": "changed"})
    assert api.get(f"/protection-flows/{made['id']}/status")["next_run"]
    assert len(api.get(f"/protection-flows/{made['id']}/occurrences")["occurrences"]) > 100
    assert api.get("/calendar")["entries"][0]["flow_id"] == made["id"]
    assert api.get("/calendar")["entries"][0]["expected_seconds"] is not None
    statistics = api.get("/protection-flows/statistics")["total"]
    assert (statistics["executions"], statistics["successful"], statistics["failed"]) == (2, 1, 1)
    assert api.get("/protection-flows/summary")["total_executions_today"] == 2
    assert "all 3 VMs were backed up" in " ".join(api.get(f"/protection-flows/{made['id']}/explain")["lines"])
    assert api.get(f"/executions/{good['id']}/events")["total"] == 1 + 3 + 3 * 3
    assert api.get("/events/log", params={"pattern": "flow.*", "flow": "other"})["total"] == 3
    assert api.get("/backups/stats")["backup_count"] == 3
    assert api.get("/audit")["total"] > 10
    retried = api.call("POST", f"/executions/{bad['id']}/retry", status=202)
    assert api.ended(retried["id"])["retry_of"] == bad["id"]
    here = datetime.now(UTC)
    window = {"from": (here - timedelta(hours=1)).isoformat(), "to": (here - timedelta(minutes=30)).isoformat()}
    filled = api.call("POST", f"/protection-flows/{made['id']}/backfill", {**window, "max_concurrent": 6}, status=202)
    api.until(
        f"/executions?backfill_id={filled['backfill_id']}",
        lambda found: found["total"] == 6 and all(one["completed_at"] for one in found["executions"]),
    )
    api.call("PATCH", f"/protection-flows/{made['id']}/disable")
    api.call("DELETE", f"/protection-flows/{other['id']}", status=204)
    distributed.flows("prune", "--keep", "1y")
    assert "✗" not in distributed.flows("doctor")
    assert ", 0 of them different today" in distributed.flows("replay")
    rebuilt = tmp_path / "rebuilt.db"
    distributed.flows("rebuild", "--into", str(rebuilt))
    assert distributed.flows("diff", distributed.env["FLOWS_DATABASE_URL"], str(rebuilt)) == "0 differences\n"
    assert "flow.completed" in distributed.flows("log", "flow.*")
    api.close()
