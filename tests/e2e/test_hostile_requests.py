"""No request stops the engine, on either database: hostile ones get a problem, and the engine goes on. `make fuzz`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import hostile_requests
from tests.fuzz import on_postgresql, on_sqlite
from tests.running import Client

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

NUMBER = 800  # requests: some ten seconds


@pytest.fixture(params=[on_sqlite, on_postgresql])
def api(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    with request.param(tmp_path) as api:
        yield api
        api.close()


def test_no_request_stops_the_engine(api: Client) -> None:
    api.until_ready()
    assert hostile_requests.attack(api, number=NUMBER, seed=15) == []
    api.until_ready()
    assert api.create("/policies", name="and it goes on")["version"] == 1
