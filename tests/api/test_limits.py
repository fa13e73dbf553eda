"""Who guesses tokens, or asks for everything at once, is told to wait, and nobody else is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from litestar import Litestar, get
from litestar.testing import TestClient

from api import auth
from api.attempts import BY_ADDRESS
from api.auth import Tokens
from api.shares import Shares, shared
from tests.api.bare import app

LONG = "r" * 40
RIGHT = {"Authorization": f"Bearer {LONG}"}
PATH = "/api/v1/session"


class Now:
    """A clock that is set."""

    at = datetime(2026, 11, 25, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Now:
    now = Now()
    monkeypatch.setattr("api.auth.now", now)
    return now


@pytest.fixture
def application(clock: Now) -> Litestar:
    made = app()
    made.state.tokens = Tokens(LONG)
    return made


@pytest.fixture
def client(application: Litestar) -> Iterator[TestClient[Litestar]]:
    with TestClient(application, raise_server_exceptions=False) as client:
        yield client


def attempt(client: TestClient[Litestar], way: str, token: str = "guess") -> Any:
    if way == "bearer":
        return client.get(PATH, headers={"Authorization": f"Bearer {token}"})
    return client.post(PATH, json={"token": token})


@pytest.mark.parametrize("way", ["bearer", "login"])
@pytest.mark.parametrize("token", ["guess", "g" * 40])
def test_who_guesses_is_told_to_wait(
    client: TestClient[Litestar], clock: Now, caplog: pytest.LogCaptureFixture, way: str, token: str
) -> None:
    assert {attempt(client, way, token).status_code for _ in range(BY_ADDRESS.burst)} == {401}
    refused = attempt(client, way, token)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
    assert "too many wrong tokens were shown: try again in 2 s" in refused.json()["detail"]
    assert attempt(client, "login" if way == "bearer" else "bearer").status_code == 429  # they count together
    assert client.get(PATH, headers=RIGHT).status_code == 200  # a right one does not suffer
    assert client.post(PATH, json={"token": LONG}).status_code == 201
    assert client.get("/health/live").status_code == 200
    clock.at += timedelta(seconds=BY_ADDRESS.interval)
    assert attempt(client, way, token).status_code == 401
    told = [one for one in caplog.records if one.name == "api.refusals"]
    assert {one.action for one in told} == {"refused"}  # type: ignore[attr-defined]
    assert token not in caplog.text.replace("guessable", "")


def test_no_token_is_no_attempt(client: TestClient[Litestar]) -> None:
    for _ in range(2 * BY_ADDRESS.burst):
        assert client.get(PATH).status_code == 401
    assert client.get(PATH, headers={"Cookie": "flows-session=from.before"}).status_code == 401
    assert attempt(client, "bearer").status_code == 401


async def test_one_client_does_not_take_all(application: Litestar) -> None:
    begun, hold = asyncio.Event(), asyncio.Event()

    @get("/slow", guards=[auth.guard], middleware=[shared], opt={"role": "viewer"})
    async def slow() -> None:
        begun.set()
        await hold.wait()

    application.register(slow)
    application.state.shares = shares = Shares(most_in_flight=1)
    transport = httpx.ASGITransport(app=application)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver.local") as client:
        first = asyncio.create_task(client.get("/slow", headers=RIGHT))
        await begun.wait()
        second = await client.get("/slow", headers=RIGHT)
        assert (second.status_code, second.headers["retry-after"]) == (429, "1")
        assert "more requests of admin are in flight than one client may have (1)" in second.json()["detail"]
        hold.set()
        assert (await first).status_code == 200
        assert (await client.get("/slow", headers=RIGHT)).status_code == 200
        assert (await client.get(f"{PATH}?unknown=1", headers=RIGHT)).status_code == 400
    assert not shares._in_flight  # those that were refused later are let go, too
