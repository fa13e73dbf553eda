"""A browser signs in, is known by its cookie, and cannot be made to act by another site's page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from litestar import Litestar, get, post
from litestar.testing import TestClient

from api import auth, cookies
from api.auth import ADMIN, Tokens
from api.identity import Identity
from api.sessions import IDLE, LONGEST
from tests.api.bare import app
from tests.running import Client, Running

PATH = "/api/v1/session"
HTTP, HTTPS = "http://testserver.local", "https://testserver.local"


class Now:
    """A clock that is set."""

    def __init__(self) -> None:
        self.at = datetime.fromisoformat("2026-11-25T12:00:00Z")

    def __call__(self) -> datetime:
        return self.at


@post("/touch", opt={"role": "viewer"}, guards=[auth.guard], status_code=200)
async def touch() -> None: ...


@get("/look", opt={"role": "viewer"}, guards=[auth.guard])
async def look() -> None: ...


class Revocable(Tokens):
    """Tokens one of which can be revoked."""

    revoked = False

    def identity(self, token_id: str, at: datetime) -> Identity | None:
        return None if self.revoked else super().identity(token_id, at)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Now:
    now = Now()
    monkeypatch.setattr("api.auth.now", now)
    monkeypatch.setattr("api.routes.session.now", now)
    return now


def replica() -> Litestar:
    """An API process: all have the same admin token."""
    made = app()
    made.register(touch)
    made.register(look)
    made.state.tokens = Revocable("t")
    return made


@pytest.fixture
def application(clock: Now) -> Litestar:
    return replica()


@pytest.fixture
def browser(application: Litestar) -> Iterator[TestClient[Litestar]]:
    with TestClient(application, base_url=HTTP, raise_server_exceptions=False) as client:
        yield client


def signed_in(browser: TestClient[Litestar], **options: Any) -> dict[str, Any]:
    answer = browser.post(PATH, json={"token": "t"}, **options)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def proof(found: dict[str, Any]) -> dict[str, str]:
    return {cookies.CSRF_HEADER: found["csrf_token"]}


def test_who_signs_in_is_known(browser: TestClient[Litestar], clock: Now) -> None:
    assert browser.get(PATH).status_code == 401
    found = signed_in(browser)
    assert {name: found[name] for name in ("actor", "role", "groups")} == {
        "actor": "admin",
        "role": "admin",
        "groups": None,
    }
    assert datetime.fromisoformat(found["expires_at"]) == clock.at + LONGEST
    assert browser.get(PATH).json() == found


def test_a_token_that_is_known_as_a_secret_is_taken_and_never_repeated(application: Litestar) -> None:
    """Everywhere else a body that holds one is refused."""
    secret = f"flows_{'x' * 43}"
    application.state.tokens = Revocable(secret)
    with TestClient(application, base_url=HTTP) as browser:
        assert browser.post(PATH, json={"token": secret}).status_code == 201
        wrong = browser.post(PATH, json={"token": secret, secret: secret})
        assert wrong.status_code == 422


def test_a_token_that_is_wrong_gives_no_session(browser: TestClient[Litestar]) -> None:
    answer = browser.post(PATH, json={"token": "wrong-and-secret"})
    assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)
    assert "wrong-and-secret" not in answer.text
    for body in ({}, {"token": ""}, {"token": "t", "more": 1}, {"token": "secret" * 100}, {"token": 5}):
        answer = browser.post(PATH, json=body)
        assert (answer.status_code, "secretsecret" in answer.text) == (422, False)


@pytest.mark.parametrize(
    ("url", "name", "secure"), [(HTTP, "flows-session", False), (HTTPS, "__Host-flows-session", True)]
)
def test_the_cookie_is_seen_by_no_script_and_no_other_site(
    application: Litestar, url: str, name: str, secure: bool
) -> None:
    with TestClient(application, base_url=url) as browser:
        cookie = browser.post(PATH, json={"token": "t"}).headers["set-cookie"]
        assert browser.get(PATH).status_code == 200
    assert cookie.startswith(f"{name}=")
    said = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/", f"max-age={int(IDLE.total_seconds())}"} <= said
    assert ("secure" in said) == secure
    assert not any(part.startswith("domain") for part in said)


def test_a_cookie_from_the_clear_is_not_taken_by_tls(browser: TestClient[Litestar]) -> None:
    signed_in(browser)
    cookie = {"Cookie": f"flows-session={browser.cookies['flows-session']}"}
    with TestClient(replica(), base_url=HTTPS) as secure:
        assert secure.get(PATH, headers=cookie).status_code == 401


def test_another_process_takes_it_too(browser: TestClient[Litestar]) -> None:
    found = signed_in(browser)
    cookie = {"Cookie": f"flows-session={browser.cookies['flows-session']}"}
    with TestClient(replica(), base_url=HTTP) as other:
        assert other.get(PATH, headers=cookie).json() == found
        assert other.post("/touch", headers={**cookie, **proof(found)}).status_code == 200


def test_what_changes_something_needs_the_proof(browser: TestClient[Litestar]) -> None:
    found = signed_in(browser)
    assert browser.get("/look").status_code == 200
    for headers in ({}, {cookies.CSRF_HEADER: ""}, {cookies.CSRF_HEADER: "x" * 64}, {cookies.CSRF_HEADER: "é"}):
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        refused = browser.post("/touch", headers=raw)
        assert refused.status_code == 403
        assert cookies.CSRF_HEADER in refused.json()["detail"]
    assert browser.post("/touch", headers=proof(found)).status_code == 200
    assert browser.delete(PATH).status_code == 403
    assert browser.get(PATH).status_code == 200


def test_the_proof_of_another_session_is_none(browser: TestClient[Litestar]) -> None:
    with TestClient(replica(), base_url=HTTP) as other:
        theirs = signed_in(other)
    signed_in(browser)
    assert browser.post("/touch", headers=proof(theirs)).status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": HTTP}, 200),
        ({"Origin": "http://testserver.local:80"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        # a browser's own word on that: a proxy may have changed the host
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://public.example.org"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "https://testserver.local"}, 403),
        ({"Origin": "http://testserver.local:3000"}, 403),
        ({"Origin": "http://evil.example.org"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://testserver.local:x"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": HTTP}, 403),
    ],
)
def test_what_another_sites_page_sends_is_refused(
    browser: TestClient[Litestar], headers: dict[str, str], status: int
) -> None:
    found = signed_in(browser)
    assert browser.post("/touch", headers={**headers, **proof(found)}).status_code == status
    # nor can it sign a browser in as somebody else
    assert browser.post(PATH, json={"token": "t"}, headers=headers).status_code == (201 if status == 200 else 403)


def test_a_bearer_token_needs_no_proof_and_goes_before_a_cookie(browser: TestClient[Litestar]) -> None:
    signed_in(browser)
    bearer = {"Authorization": "Bearer t", "Origin": "http://evil.example.org"}
    assert browser.post("/touch", headers=bearer).status_code == 200
    whoami = browser.get(PATH, headers=bearer)
    assert "set-cookie" not in whoami.headers
    assert (whoami.json()["actor"], whoami.json()["csrf_token"], whoami.json()["expires_at"]) == ("admin", None, None)
    assert browser.post("/touch", headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_who_signs_out_is_known_no_more_not_even_by_a_copy(browser: TestClient[Litestar]) -> None:
    found = signed_in(browser)
    copy = {"Cookie": f"flows-session={browser.cookies['flows-session']}"}
    answer = browser.delete(PATH, headers=proof(found))
    assert answer.status_code == 204
    assert "max-age=0" in answer.headers["set-cookie"].lower()
    assert "flows-session" not in browser.cookies
    for headers in ({}, copy):
        assert browser.get(PATH, headers=headers).status_code == 401
    assert "sign in again" in browser.get(PATH, headers=copy).json()["detail"]


def test_a_session_goes_on_while_it_is_used_and_not_beyond_its_end(browser: TestClient[Litestar], clock: Now) -> None:
    found = signed_in(browser)
    begin = clock.at
    for _ in range(15):
        clock.at += IDLE - timedelta(minutes=10)
        renewed = browser.get(PATH)
        if clock.at >= begin + LONGEST:
            break
        assert renewed.json() == found
    assert renewed.status_code == 401
    signed_in(browser)
    clock.at += IDLE
    assert browser.get("/look").status_code == 401


def test_a_revoked_token_ends_its_sessions(browser: TestClient[Litestar], application: Litestar) -> None:
    signed_in(browser)
    application.state.tokens.revoked = True
    assert browser.get("/look").status_code == 401


def test_another_admin_token_ends_all_sessions(browser: TestClient[Litestar], application: Litestar) -> None:
    signed_in(browser)
    application.state.tokens = Tokens("another")
    assert browser.get("/look").status_code == 401
    assert Tokens("another").identity(str(ADMIN.token_id), datetime.now().astimezone()) is not None


def test_on_a_running_engine(running: Running, api: Client) -> None:
    """Live events, a change, and the name of who made it, all by a cookie."""
    with httpx.Client(base_url=f"{running.url}/api/v1", timeout=30) as browser:
        found = browser.post("/session", json={"token": running.token}).json()
        assert browser.post("/policies", json={"name": "by-nobody"}).status_code == 403
        made = browser.post("/policies", json={"name": "by-a-browser"}, headers=proof(found))
        assert made.status_code == 201
        with browser.stream("GET", "/events", params={"type": "catalog.policy", "after": "0"}) as stream:
            assert stream.status_code == 200
            assert any("by-a-browser" in line for line in stream.iter_lines())
        assert browser.delete("/session", headers=proof(found)).status_code == 204
        assert browser.get("/policies").status_code == 401
    entry = api.get("/audit", params={"entity_id": made.json()["id"]})["commands"][0]
    assert entry["actor"] == "admin"
