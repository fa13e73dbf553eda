"""What the page asks of the server, over HTTP: shapes, filters, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.api import worlds
from tests.api.scoped import Asked, House

V1 = "/api/v1"


@pytest.fixture
async def house(tmp_path: Path, empty_tables: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """Tables of two worlds, an hour after all that happened in them."""
    for module in ("api.context", "api.auth"):
        monkeypatch.setattr(f"{module}.now", lambda: worlds.LATER)
    made = House(await worlds.recorded(Path(shutil.copy(empty_tables, tmp_path / "flows.db"))))
    yield made
    await made.close()


async def get(house: House, path: str, status: int = 200, who: str = "everything", **query: str) -> Any:
    found = await house.ask(who, Asked(method="GET", path=f"{V1}{path}", query=query))
    assert found.status_code == status, found.text
    return found.json()


async def test_coverage_over_http(house: House) -> None:
    found = await get(house, "/coverage", sort="vm_name", limit="2")
    assert set(found) == {"vms", "total", "counts", "at"}
    assert [one["context_id"] for one in found["vms"]] == ["alpha-vm", "alpha-vm-2"]
    assert found["total"] == sum(found["counts"].values()) == 6
    failing = await get(house, "/coverage", state="failing")
    assert [one["state"] for one in failing["vms"]] == ["failing"] * failing["counts"]["failing"]
    for path in ("/coverage", "/coverage/days"):
        alone = await get(house, path, context_id="alpha-vm")
        assert ([one["context_id"] for one in alone["vms"]], alone["total"]) == (["alpha-vm"], 1)
    assert (await get(house, "/coverage", who="bravo", context_id="alpha-vm"))["total"] == 0
    of_alpha = await get(house, "/coverage", who="alpha")
    assert {one["context_id"] for one in of_alpha["vms"]} == {"alpha-vm", "alpha-vm-2", "common-vm"}


async def test_days_over_http(house: House) -> None:
    found = await get(house, "/coverage/days", days="3", timezone="Europe/Berlin", by="site", q="alpha")
    assert found["days"] == ["2026-10-30", "2026-10-31", "2026-11-01"]
    assert {one["context_id"]: (one["cells"], one["label"]) for one in found["vms"]} == {
        "alpha-vm": ("  s", "alpha"),
        "alpha-vm-2": ("  s", None),  # its labels went with its second version
    }
    # the backups of a cell
    day = {"from": "2026-11-01T00:00:00+01:00", "to": "2026-11-02T00:00:00+01:00", "context_id": "alpha-vm"}
    backups = await get(house, "/backups", **day)
    assert backups["total"] > 0
    assert (await get(house, "/backups", **{**day, "to": day["from"]}))["total"] == 0
    assert (await get(house, "/backups", **day, flow_id="bravo-flow"))["total"] == 0
    of_flow = await get(house, "/backups", flow_id="alpha-flow")
    assert {one["flow_id"] for one in of_flow["backups"]} == {"alpha-flow"}


async def test_the_timeline_over_http(house: House) -> None:
    found = await get(house, "/timeline", label="of:alpha")
    assert [one["flow_id"] for one in found["flows"]] == ["alpha-flow"]
    assert {"from", "to", "now"} < set(found)
    assert {bar["kind"] for bar in found["flows"][0]["bars"]} == {"scheduled", "manual", "backfill"}
    await get(house, "/timeline", 422, **{"from": "2026-11-02T00:00:00Z", "to": "2026-11-01T00:00:00Z"})
    await get(house, "/timeline", 400, limit="201")


async def test_the_executions_of_flows_with_a_label(house: House) -> None:
    found = await get(house, "/executions", label="of:alpha")
    assert {one["flow_id"] for one in found["executions"]} == {"alpha-flow"}
    assert (await get(house, "/executions", label="of:nobody"))["total"] == 0


async def test_the_overview_over_http(house: House) -> None:
    found = await get(house, "/overview", timezone="Europe/Berlin")
    assert found["verdict"]["state"] == "attention"  # what failed in one world was done in the other
    assert {"from", "to", "executions", "backups", "bytes"} == set(found["last_night"])
    assert "freeze" in {one["kind"] for one in found["attention"]}
    of_alpha = await get(house, "/overview", who="alpha")
    assert of_alpha["verdict"]["state"] == "danger"
    assert [one["subject"]["id"] for one in of_alpha["attention"] if one["kind"] == "vm_failing"] == ["common-vm"]
    assert found["freeze"]["reason"] == "common"


async def test_a_repository_over_time(house: House) -> None:
    found = await get(house, "/repositories/common-repository/storage/history", days="2")
    assert [one["day"] for one in found["days"]] == ["2026-10-31", "2026-11-01"]
    assert found["days"][-1]["stored_bytes"] == found["stored_bytes"] > 0
    assert (found["free_bytes"], found["full_on"]) == (None, None)  # a simulated one is nowhere
    await get(house, "/repositories/nobody/storage/history", 404)
    await get(house, "/repositories/common-repository/storage/history", 403, who="alpha")


@pytest.mark.parametrize("path", ["/coverage/days", "/overview", "/repositories/common-repository/storage/history"])
async def test_a_time_zone_that_is_none_is_refused(house: House, path: str) -> None:
    for wrong in ("Mars/Base", "../etc/passwd", "/etc/passwd", ""):
        found = await get(house, path, 422, timezone=wrong)
        assert found["errors"][0]["field"] == "timezone"


@pytest.mark.parametrize("query", [{"days": "0"}, {"days": "401"}, {"limit": "1001"}, {"state": "fine"}, {"by": "a b"}])
async def test_what_is_out_of_bounds_is_refused(house: House, query: dict[str, str]) -> None:
    assert (await get(house, "/coverage/days", 400, **query))["errors"][0]["field"] in query
