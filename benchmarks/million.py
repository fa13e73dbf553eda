"""One million executions in SQLite: pages of history, and the summary, over HTTP."""

from __future__ import annotations

import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from api.app import create_app
from api.auth import Tokens
from benchmarks.listing import served
from bus.server import Server
from services import database

EXECUTIONS, FLOWS, REQUESTS = 1_000_000, 1_000, 100
QUERIES = {
    "first page, over all flows": "/executions?limit=50",
    "thousandth page, over all flows": "/executions?limit=50&offset=49950",
    "first page of a flow with 1,000": "/protection-flows/f1/executions?limit=50",
    "last page of a flow with 1,000": "/protection-flows/f1/executions?limit=50&offset=950",
    "first page of those that failed": "/executions?limit=50&status=error",
    "summary": "/protection-flows/summary",
}


def fill(file: Path) -> None:
    """Write the rows past the log: this measures questions."""
    database.upgrade(database.sqlite_url(file))
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA journal_mode=WAL")
    here = datetime.now(UTC).replace(tzinfo=None)
    at = here.isoformat(" ", "microseconds")
    connection.execute(
        "INSERT INTO machine_groups (id, name, description, enabled, version, created_at, updated_at, created_by) "
        f"VALUES ('g', 'g', '', 1, 1, '{at}', '{at}', 'bench')"
    )
    connection.executemany(
        "INSERT INTO protection_flows (id, name, description, enabled, version, created_at, updated_at, created_by, "
        "flow_type, target_type, target_id, overlap_policy, priority, labels, armed_at) VALUES "
        f"(?, ?, '', 1, 1, '{at}', '{at}', 'bench', 'backup', 'group', 'g', 'skip', 0, '{{}}', '{at}')",
        ((f"f{number}", f"f{number}") for number in range(FLOWS)),
    )

    def rows() -> object:
        for number in range(EXECUTIONS):
            began = (here - timedelta(seconds=30 * (EXECUTIONS - number))).isoformat(" ", "microseconds")
            status = "error" if number % 50 == 0 else "success"
            yield (f"x{number}", f"f{number % FLOWS}", f"f{number % FLOWS}", status, began, began, began, began)

    connection.executemany(
        "INSERT INTO protection_flow_executions (id, flow_id, flow_name, status, occurrence, created_at, started_at, "
        "completed_at, execution_type, triggered_by, priority, jobs_created, excluded) VALUES "
        "(?, ?, ?, ?, ?, ?, ?, ?, 'scheduled', 'scheduler', 0, 1, '[]')",
        rows(),
    )
    connection.execute("ANALYZE")
    connection.commit()
    connection.close()


def million(folder: Path) -> dict[str, list[float]]:
    """Return each query's times in ms, sorted."""
    server = Server(folder / "data")
    server.start()
    found: dict[str, list[float]] = {}
    try:
        file = folder / "flows.db"
        fill(file)
        app = create_app(nats_url=server.url, database_url=database.sqlite_url(file), tokens=Tokens("bench"))
        headers = {"Authorization": "Bearer bench"}
        with served(app) as base, httpx.Client(base_url=f"{base}/api/v1", headers=headers, timeout=60) as client:
            for name, query in QUERIES.items():
                client.get(query).raise_for_status()
                times = []
                for _ in range(REQUESTS):
                    begun = time.perf_counter()
                    client.get(query).raise_for_status()
                    times.append((time.perf_counter() - begun) * 1000)
                found[name] = sorted(times)
    finally:
        server.stop()
    return found
