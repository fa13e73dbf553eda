"""What is refused leaves a line: who, where and why, never the token; and at most one a second for each address."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from api import refusals
from api.refusals import Refusals, address_of
from tests.running import Running, wait_until
from tests.support import eventually


def lines(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [one for one in caplog.records if one.name == "api.refusals"]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "PAUSE", 0.3)


def refuse(told: Refusals, host: str, times: int = 1) -> None:
    for _ in range(times):
        told.report(host, status=401, route="GET /x", reason="there is no token")


async def test_the_first_is_told_and_the_rest_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    told = Refusals()
    refuse(told, "10.0.0.1", times=500)
    refuse(told, "10.0.0.2")
    first, second = lines(caplog)
    assert (first.action, first.address, first.status, first.route) == ("refused", "10.0.0.1", 401, "GET /x")
    assert first.getMessage() == "refused GET /x from 10.0.0.1 with 401: there is no token"
    assert second.address == "10.0.0.2"
    await eventually(lambda: len(lines(caplog)) == 3)
    third = lines(caplog)[2]
    assert (third.action, third.address, third.suppressed) == ("refused_more", "10.0.0.1", 499)


async def test_one_that_goes_on_gets_a_line_in_each_while(caplog: pytest.LogCaptureFixture) -> None:
    told, number = Refusals(), 0
    begun = asyncio.get_running_loop().time()
    while asyncio.get_running_loop().time() - begun < 1.5:
        refuse(told, "10.0.0.1")
        number += 1
        await asyncio.sleep(0.01)  # not a wait: how fast they come
    await asyncio.sleep(0.7)  # not a wait: for so long it is quiet
    found = lines(caplog)
    assert 2 <= len(found) <= 8
    assert 1 + sum(one.suppressed for one in found[1:]) == number  # every one of them is in some line
    refuse(told, "10.0.0.1")
    assert lines(caplog)[-1].action == "refused"  # it was quiet: this is a new one


async def test_many_addresses_do_not_make_many_lines(caplog: pytest.LogCaptureFixture) -> None:
    told = Refusals()
    for number in range(5_000):
        refuse(told, f"10.1.{number // 250}.{number % 250}")
    assert len(lines(caplog)) == refusals.MOST + 1
    assert lines(caplog)[-1].address == "other addresses"
    await eventually(lambda: len(lines(caplog)) == refusals.MOST + 2)
    assert lines(caplog)[-1].suppressed == 5_000 - refusals.MOST - 1


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("x" * 5_000, "x" * 64),
        (None, "unknown"),
        ("", "unknown"),
    ],
)
def test_what_stands_for_a_client(host: str | None, address: str) -> None:
    assert address_of(host) == address


def test_a_failed_login_is_in_the_log_without_the_token(running: Running) -> None:
    secret = "not-the-token-but-nobody-else-shall-know"
    path = f"{running.url}/api/v1/policies/a-name-that-is-nobodys"
    log = running.folder / "logs" / "api.log"

    def told() -> list[dict[str, Any]]:
        """Ask until it is told of: others are refused here too, and there is one line a second."""
        for headers in ({}, {"Authorization": f"Bearer {secret}"}, {"Authorization": f"Basic {secret}"}):
            # who shows wrong tokens so often is told to wait
            allowed = {401, 429} if "Bearer" in str(headers) else {401}
            assert httpx.get(path, headers=headers, params={"token": secret}).status_code in allowed
        found = [json.loads(line) for line in log.read_text().splitlines() if '"refused' in line]
        mine = [one for one in found if one["action"] == "refused" and one["route"].startswith("GET /api/v1/policies")]
        return mine if any("suppressed" in one for one in found) else []

    first = wait_until(told, within=30)[0]
    assert (first["address"], first["status"], first["level"]) == ("127.0.0.1", 401, "warning")
    assert first["route"].startswith("GET /api/v1/")
    assert first["reason"]
    assert secret not in log.read_text()
    assert "nobodys" not in log.read_text()


@pytest.mark.parametrize(
    ("header", "reason"),
    [(None, "there is no token"), ("Bearer x", "the token is wrong"), ("Basic x", "this is no Bearer token")],
)
def test_a_refusal_says_what_was_wrong(running: Running, header: str | None, reason: str) -> None:
    headers = {"Authorization": header} if header else {}
    found = httpx.get(f"{running.url}/api/v1/policies", headers=headers)
    assert found.json()["detail"].startswith(f"{reason}: send the header `Authorization: Bearer <token>`")
