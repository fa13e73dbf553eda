"""compose.yaml as plain processes: it starts, is healthy, and works end to end, each part with its own rights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.composed import Composed
from tests.databases import postgresql_process
from tests.made import flow

pytestmark = pytest.mark.server


@pytest.fixture
def composed(tmp_path: Path) -> Iterator[Composed]:
    with postgresql_process() as postgresql, Composed(tmp_path, postgresql) as composed:
        yield composed


def test_all_that_is_composed_works_together(composed: Composed) -> None:
    one, other = composed.client(0), composed.client(1)
    one.until_ready()
    made = flow(one, "nightly", vms=3)
    execution = other.call("POST", f"/protection-flows/{made['id']}/execute", status=202)
    assert other.ended(execution["id"])["status"] == "success"
    assert one.get(f"/executions/{execution['id']}")["jobs_completed"] == 3
    checked = composed.flows("doctor")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    api, password = composed.parts["api"][0].env, (composed.secrets / "database-api").read_text().strip()
    address = api["FLOWS_DATABASE_URL"].replace("+psycopg", "").replace("flows_api@", f"flows_api:{password}@")
    with psycopg.connect(address) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("DELETE FROM events")
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(address.replace(password, "guessed"))
    one.close()
    other.close()
    for parts in composed.parts.values():  # nobody shows a secret, and each ends when it is asked to
        for part in parts:
            for secret in composed.secrets.iterdir():
                assert secret.read_text().strip() not in part.said(), f"{part.name} tells {secret.name}"
    for name in ("api", "worker", "executor", "scheduler", "registry", "recorder", "setup"):
        assert [part.stop() for part in composed.parts[name]] == [0] * len(composed.parts[name]), name
