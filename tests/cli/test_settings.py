"""`flows settings`, and the settings over HTTP, on an engine on which nobody has set anything yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.support import flows
from tests.running import Client, Running, paused, service


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as context:
        for variable in ("FLOWS_MAX_CONCURRENT_JOBS", "FLOWS_KEEP_DAYS"):
            context.delenv(variable, raising=False)
        running = Running(tmp_path_factory.mktemp("engine") / "data").start()
    yield running
    assert running.stop() == 0


@pytest.fixture
def api(running: Running) -> Iterator[Client]:
    client = running.client()
    yield client
    client.close()


def said(running: Running, *arguments: str) -> list[str]:
    done = flows("settings", *arguments, "--url", running.url, "--data", str(running.folder))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.splitlines()


def test_settings_are_shown_set_and_lifted(running: Running, api: Client) -> None:
    nothing = api.http.get("/settings")
    assert nothing.headers["etag"] == '"0"'
    assert nothing.json() == {
        "max_concurrent_jobs": None,
        "keep_days": None,
        "version": 0,
        "updated_at": None,
        "updated_by": None,
    }
    assert said(running) == [
        "max-concurrent-jobs  none   backups in flight over all flows",
        "keep-days            none   days for which history is kept in the tables",
        "version 0: nothing has been set yet",
    ]
    lines = said(running, "set", "--max-concurrent-jobs", "4", "--keep-days", "90")
    assert lines[0].split()[:2] == ["max-concurrent-jobs", "4"]
    assert lines[1].split()[:2] == ["keep-days", "90"]
    assert lines[2].startswith("version 1: set by admin at ")
    assert said(running) == said(running, "show") == lines
    assert [line.split()[1] for line in said(running, "set", "--keep-days", "none")[:2]] == ["4", "none"]
    found = api.get("/settings")
    assert (found["max_concurrent_jobs"], found["keep_days"], found["version"]) == (4, None, 2)
    assert api.get("/queue")["limits"]["total"] == 4
    assert "max_concurrent_jobs 4, keep_days none (version 2)" in flows("log", "--data", str(running.folder)).stdout


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("set",), "nothing to set"),
        (("set", "--keep-days", "0"), "'0': a whole number from 1 to 36,500 is needed, or none"),
        (("set", "--max-concurrent-jobs", "many"), "'many': a whole number"),
        (("sett",), "unexpected extra argument"),
    ],
)
def test_what_makes_no_sense_is_refused(running: Running, arguments: tuple[str, ...], why: str) -> None:
    done = flows("settings", *arguments, "--data", str(running.folder))
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr


def test_over_http(api: Client) -> None:
    version = api.call("PUT", "/settings", {"max_concurrent_jobs": 2, "keep_days": 7})["version"]
    answer = api.http.put("/settings", json={"keep_days": None}, headers={"If-Match": f'"{version}"'})
    assert (answer.status_code, answer.headers["etag"]) == (200, f'"{version + 1}"')
    assert (answer.json()["max_concurrent_jobs"], answer.json()["keep_days"]) == (2, None)
    stale = api.call("PUT", "/settings", {"keep_days": 9}, status=412, headers={"If-Match": f'"{version}"'})
    assert f"at version {version + 1}, not {version}" in stale["detail"]
    wrong = api.call("PUT", "/settings", {"keep_days": "9", "max_concurrent_jobs": 0, "colour": "red"}, status=422)
    assert {error["field"] for error in wrong["errors"]} == {"keep_days", "max_concurrent_jobs", "colour"}
    api.call("GET", "/settings?colour=red", status=400)
    assert api.call("PUT", "/settings", {})["version"] == version + 1  # nothing to change
    refused, entry = api.get("/audit?entity=settings")["commands"][1:3]
    assert (refused["outcome"], refused["code"]) == ("rejected", "version")
    assert (entry["actor"], entry["verb"], entry["outcome"]) == ("admin", "update", "accepted")
    assert (entry["before"]["keep_days"], entry["after"]["keep_days"]) == (7, None)
    assert entry["request"]["patch"] == {"keep_days": None}


@pytest.mark.parametrize("name", ["registry", "recorder"])
def test_without_a_service_a_change_waits_on_the_log(running: Running, api: Client, name: str) -> None:
    before = api.get("/settings")
    days = (before["keep_days"] or 0) + 1
    with paused(service(running, name)):
        answer = api.http.put("/settings", json={"keep_days": days})
        assert answer.status_code == 202
        assert api.get("/settings") == before
    api.until("/settings", lambda found: found["keep_days"] == days)


def test_a_rebuilt_database_has_them_too(running: Running, tmp_path: Path) -> None:
    assert said(running, "set", "--keep-days", "12")
    other = tmp_path / "rebuilt.db"
    flows("rebuild", "--into", str(other), "--data", str(running.folder))
    done = flows("diff", str(running.folder / "flows.db"), str(other))
    assert done.stdout == "0 differences\n", done.stdout + done.stderr
