"""Signing in by an identity provider: who comes back from it is let in, and nobody who only says so."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from joserfc import jwt
from litestar import Litestar

from api.oidc import provider as providers
from api.oidc.provider import AGAIN, PAUSE, Provider
from api.oidc.terms import Terms
from api.readmodel import names
from api.readmodel.names import Named
from api.sessions import LONGEST
from tests.api.bare import app
from tests.api.oidc.provider import CLIENT, RSA, SECRET, LocalProvider, ec_key, local_provider

pytestmark = pytest.mark.server

BEGIN, CALLBACK, SESSION = "/api/v1/session/oidc", "/api/v1/session/oidc/callback", "/api/v1/session"
ROLES = {"backup-admins": "admin", "backup-ops": "operator"}


class Now:
    """The real time, and what was added to it."""

    ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Now:
    now = Now()
    for module in ("api.auth", "api.routes.session", "api.routes.oidc"):
        monkeypatch.setattr(f"{module}.now", now)
    return now


@pytest.fixture
async def there(clock: Now) -> AsyncIterator[LocalProvider]:
    async with local_provider() as provider:
        yield provider


@pytest.fixture
def engine(there: LocalProvider) -> Litestar:
    made = app()
    made.state.provider = Provider(Terms(issuer=there.issuer, client_id=CLIENT, roles=ROLES), SECRET)  # type: ignore[arg-type]
    return made


@asynccontextmanager
async def browsing(engine: Litestar, scheme: str = "http") -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=engine)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url=f"{scheme}://testserver.local") as browser:
        yield browser


@pytest.fixture
async def browser(engine: Litestar) -> AsyncIterator[httpx.AsyncClient]:
    async with browsing(engine) as browser:
        yield browser


async def sent(browser: httpx.AsyncClient) -> str:
    """Return where a browser is sent to."""
    answer = await browser.get(BEGIN)
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


async def signing_in(browser: httpx.AsyncClient, there: LocalProvider) -> httpx.Response:
    return await browser.get(CALLBACK, params=there.authorize(await sent(browser)))


async def refused(browser: httpx.AsyncClient, there: LocalProvider, status: int = 401) -> str:
    """Return why nobody was signed in."""
    answer = await signing_in(browser, there)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await browser.get(SESSION)).status_code == 401
    assert SECRET not in answer.text
    return str(answer.json()["detail"])


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_who_the_provider_signs_in_has_a_session(
    engine: Litestar, there: LocalProvider, clock: Now, scheme: str
) -> None:
    async with browsing(engine, scheme) as browser:
        begun = await browser.get(BEGIN)
        prefix = "__Host-" if scheme == "https" else ""
        cookie = begun.headers["set-cookie"]
        assert cookie.startswith(f"{prefix}flows-sign-in=")
        assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
        answer = await browser.get(CALLBACK, params=there.authorize(begun.headers["location"]))
        assert (answer.status_code, answer.headers["location"]) == (302, "/")
        assert list(browser.cookies) == [f"{prefix}flows-session"]
        found = (await browser.get(SESSION)).json()
        assert {name: found[name] for name in ("actor", "role", "groups")} == {
            "actor": "oidc:eve",
            "role": "operator",
            "groups": None,
        }
        assert there.sent[-1]["redirect_uri"] == f"{scheme}://testserver.local{CALLBACK}"
        assert (await browser.delete(SESSION)).status_code == 403
        assert (await browser.delete(SESSION, headers={"X-CSRF-Token": found["csrf_token"]})).status_code == 204
        assert (await browser.get(SESSION)).status_code == 401
        await signing_in(browser, there)
        clock.ahead = LONGEST
        assert (await browser.get(SESSION)).status_code == 401


async def test_it_signs_with_an_elliptic_curve_too(browser: httpx.AsyncClient, there: LocalProvider) -> None:
    there.key, there.header = ec_key(), {"alg": "ES256", "kid": "ec"}
    assert (await signing_in(browser, there)).status_code == 302


NOW = int(time.time())
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "another nonce": ({"nonce": "another"}, "invalid_claim (nonce)"),
    "no nonce": ({"nonce": None}, "missing_claim"),
    "another audience": ({"aud": "another"}, "invalid_claim (aud)"),
    "others' audience": ({"aud": ["a", "b"]}, "invalid_claim (aud)"),
    "an audience of several, for another": ({"aud": [CLIENT, "b"], "azp": "b"}, "invalid_claim (azp)"),
    "an audience of several, for nobody": ({"aud": [CLIENT, "b"]}, "missing_claim (azp)"),
    "another issuer": ({"iss": "https://evil.example.org"}, "invalid_claim (iss)"),
    "no issuer": ({"iss": None}, "missing_claim"),
    "nobody": ({"sub": None}, "missing_claim"),
    "expired": ({"exp": NOW - 120}, "expired_token (exp)"),
    "no end": ({"exp": None}, "missing_claim"),
    "an end that is none": ({"exp": "tomorrow"}, "invalid_claim (exp)"),
    "issued in the future": ({"iat": NOW + 1_000}, "invalid_claim (iat)"),
    "not valid yet": ({"nbf": NOW + 1_000}, "invalid_claim (nbf)"),
    "another access token's": ({"at_hash": "b" * 22}, "invalid_claim (at_hash)"),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_claims_that_are_not_ours_or_not_of_now(
    browser: httpx.AsyncClient, there: LocalProvider, wrong: str
) -> None:
    there.claims, reason = WRONG[wrong]
    assert reason in await refused(browser, there)


@pytest.mark.parametrize(("claim", "seconds"), [("iat", 50), ("nbf", 50), ("exp", -50)])
async def test_clocks_may_differ_a_little(
    browser: httpx.AsyncClient, there: LocalProvider, claim: str, seconds: int
) -> None:
    there.claims = {claim: int(time.time()) + seconds}
    assert (await signing_in(browser, there)).status_code == 302


def unsigned(there: LocalProvider, nonce: str) -> str:
    return signed_by_hand(there, nonce, {"alg": "none"}, b"")


def with_the_public_key(there: LocalProvider, nonce: str) -> str:
    """As a library would take it that lets the token say how it is signed."""
    return signed_by_hand(there, nonce, {"alg": "HS256", "kid": "rsa"}, RSA.as_pem(private=False))


def signed_by_hand(there: LocalProvider, nonce: str, header: dict[str, str], key: bytes) -> str:
    claims = {"iss": there.issuer, "aud": CLIENT, "sub": "1", "iat": NOW, "exp": NOW + 600, "nonce": nonce}
    said = ".".join(base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in (header, claims))
    mark = hmac.digest(key, said.encode(), "sha256") if key else b""
    return f"{said}.{base64.urlsafe_b64encode(mark).decode().rstrip('=')}"


@pytest.mark.parametrize("made", [unsigned, with_the_public_key])
async def test_what_everybody_could_sign(
    browser: httpx.AsyncClient, there: LocalProvider, made: Callable[[LocalProvider, str], str]
) -> None:
    brought = there.authorize(await sent(browser))
    there.token = made(there, there._codes[brought["code"]]["nonce"])
    answer = await browser.get(CALLBACK, params=brought)
    assert (answer.status_code, "not signed in one of the ways" in answer.text) == (401, True)


@pytest.mark.parametrize("token", ["x", "a.b.c", "é", "e30.e30.", "W10.e30.x", "." * 50_000])
async def test_what_is_no_token(browser: httpx.AsyncClient, there: LocalProvider, token: str) -> None:
    there.token = token
    assert "it is no" in await refused(browser, there)


async def test_another_ones_key_with_the_same_name(browser: httpx.AsyncClient, there: LocalProvider) -> None:
    there.listed = [RSA]
    there.key, there.header = ec_key("rsa"), {"alg": "ES256", "kid": "rsa"}
    await refused(browser, there)
    there.listed = [ec_key("rsa")]
    engine_knows = there.asked.count("/realms/example/keys")
    assert engine_knows == 1
    await refused(browser, there)


async def test_new_keys_are_looked_for_once_and_not_often(
    browser: httpx.AsyncClient, there: LocalProvider, clock: Now
) -> None:
    def asked() -> int:
        return there.asked.count("/realms/example/keys")

    assert (await signing_in(browser, there)).status_code == 302
    browser.cookies.clear()
    there.key, there.header = ec_key("new"), {"alg": "ES256", "kid": "new"}
    for _ in range(3):
        assert "a key that the provider does not name" in await refused(browser, there)
    assert asked() == 1
    clock.ahead = timedelta(seconds=PAUSE + 1)
    there.claims = {"iat": int(time.time())}
    assert (await signing_in(browser, there)).status_code == 302
    assert asked() == 2
    browser.cookies.clear()
    there.header = {"alg": "ES256", "kid": "unknown"}
    for _ in range(3):
        await refused(browser, there)
    assert asked() == 2


async def test_a_code_is_good_once(browser: httpx.AsyncClient, there: LocalProvider) -> None:
    brought = there.authorize(await sent(browser))
    copy = dict(browser.cookies)
    assert (await browser.get(CALLBACK, params=brought)).status_code == 302
    browser.cookies.clear()
    there.codes_last = True  # were the provider to take it again
    there._codes[brought["code"]] = dict.fromkeys(("nonce", "code_challenge", "redirect_uri"), "x")
    again = await browser.get(CALLBACK, params=brought, headers={"Cookie": f"flows-sign-in={copy['flows-sign-in']}"})
    assert again.status_code == 403
    assert len(there.sent) == 1
    there.codes_last = False
    other = there.authorize(await sent(browser))
    answer = await browser.get(CALLBACK, params={**other, "code": brought["code"]})
    assert (answer.status_code, "did not take the code" in answer.text) == (401, True)


async def test_another_browsers_sign_in(
    engine: Litestar, browser: httpx.AsyncClient, there: LocalProvider, clock: Now
) -> None:
    brought = there.authorize(await sent(browser))
    async with browsing(engine) as victim:
        for _ in range(2):  # without a sign-in of its own, and with one
            answer = await victim.get(CALLBACK, params=brought)
            assert (answer.status_code, "was not begun in this browser" in answer.text) == (403, True)
            await sent(victim)
    for changed in ({"state": "x"}, {"state": ""}, {"iss": "https://evil.example.org"}):
        assert (await browser.get(CALLBACK, params={**brought, **changed})).status_code == 403
        brought = there.authorize(await sent(browser))
    assert there.sent == []
    clock.ahead = timedelta(minutes=11)
    assert (await browser.get(CALLBACK, params=brought)).status_code == 403


async def test_who_was_not_signed_in_there(browser: httpx.AsyncClient, there: LocalProvider) -> None:
    brought = there.authorize(await sent(browser))
    answer = await browser.get(CALLBACK, params={"state": brought["state"], "error": "access_denied"})
    assert answer.status_code == 403
    assert answer.json()["detail"].endswith("it says 'access_denied'")
    assert "flows-sign-in" not in browser.cookies


async def test_who_has_no_role_hears_whom_to_ask(browser: httpx.AsyncClient, there: LocalProvider) -> None:
    there.claims = {"roles": ["cook", 7, None, {"backup-ops": 1}]}
    detail = await refused(browser, there, 403)
    assert detail.startswith("oidc:eve has no role here. Ask who administers the identity provider for one of")
    assert "backup-admins, backup-ops" in detail
    there.claims = {"roles": None}
    await refused(browser, there, 403)


async def test_groups_are_what_one_sees(
    browser: httpx.AsyncClient, engine: Litestar, there: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def existing(_: Any, __: Any, called: list[str]) -> set[str]:
        return {"g1"} & set(called)

    async def named(*_: Any) -> dict[str, Named]:
        return {"Finance": Named(count=1, ids=["g2"]), "Twice": Named(count=2, ids=["g3", "g4"])}

    monkeypatch.setattr(names, "existing", existing)
    monkeypatch.setattr(names, "named", named)
    terms = Terms(issuer=there.issuer, client_id=CLIENT, roles=ROLES, group_claim="groups")  # type: ignore[arg-type]
    engine.state.provider = Provider(terms, SECRET)
    there.claims = {"groups": ["g1", "Finance", "Twice", "nowhere"]}
    await signing_in(browser, there)
    assert (await browser.get(SESSION)).json()["groups"] == ["g1", "g2"]
    monkeypatch.setattr(names, "named", lambda *_: _none())
    there.claims = {}
    await signing_in(browser, there)
    assert (await browser.get(SESSION)).json()["groups"] == []  # nothing, and not everything
    there.claims = {"roles": ["backup-admins"]}
    await signing_in(browser, there)
    assert (await browser.get(SESSION)).json()["groups"] is None


async def _none() -> dict[str, Named]:
    return {}


async def test_a_provider_that_does_not_respond_is_asked_again_soon_and_not_at_once(
    browser: httpx.AsyncClient, there: LocalProvider, clock: Now, caplog: pytest.LogCaptureFixture
) -> None:
    there.status = 500
    for _ in range(3):
        answer = await browser.get(BEGIN)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
        assert f"by the identity provider {there.issuer} is not possible now: it responded with 500" in answer.text
    assert len(there.asked) == 1
    (line,) = [one for one in caplog.records if one.name == "api.oidc.provider"]
    assert line.action == "identity_provider_unavailable"  # type: ignore[attr-defined]
    assert (await browser.get("/health/live")).status_code == 200
    clock.ahead = timedelta(seconds=AGAIN + 1)
    there.status = 200
    assert await sent(browser)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"raw": b"no json"}, "is no JSON"),
        ({"raw": b"[]"}, "no JSON object"),
        ({"raw": b"[" * 200_000}, "is no JSON"),
        ({"raw": b'{"a": "' + b"x" * 300_000 + b'"}'}, "is too long"),
        ({"discovery": {"issuer": "https://evil.example.org"}}, "it says that it is another issuer"),
        ({"discovery": {"token_endpoint": "http://evil.example.org/t"}}, "its token_endpoint is no address with https"),
        ({"discovery": {"jwks_uri": None}}, "its jwks_uri is no address"),
    ],
)
async def test_a_provider_that_talks_nonsense(
    browser: httpx.AsyncClient, there: LocalProvider, said: dict[str, Any], reason: str
) -> None:
    for name, value in said.items():
        setattr(there, name, value)
    answer = await browser.get(BEGIN)
    assert (answer.status_code, reason in answer.text) == (503, True)


async def test_a_provider_that_hangs(
    browser: httpx.AsyncClient, there: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(providers, "TIMEOUT", 0.2)
    monkeypatch.setattr(providers, "MOST_AT_ONCE", 2)
    there.hold = asyncio.Event()
    answers = await asyncio.gather(*(browser.get(BEGIN) for _ in range(5)))
    assert [answer.status_code for answer in answers] == [503] * 5
    assert sum("others are signing in at this moment" in answer.text for answer in answers) == 3
    assert sum("does not respond in time" in answer.text for answer in answers) == 2


async def test_a_provider_that_is_gone(browser: httpx.AsyncClient, there: LocalProvider, engine: Litestar) -> None:
    terms = Terms(issuer="http://127.0.0.1:1", client_id=CLIENT, roles=ROLES)  # type: ignore[arg-type]
    engine.state.provider = Provider(terms, SECRET)
    answer = await browser.get(BEGIN)
    assert (answer.status_code, "it cannot be reached (ConnectError)" in answer.text) == (503, True)


async def test_a_wrong_secret_is_no_fault_of_who_signs_in_and_is_not_shown(
    browser: httpx.AsyncClient, engine: Litestar, there: LocalProvider, caplog: pytest.LogCaptureFixture
) -> None:
    terms = Terms(issuer=there.issuer, client_id=CLIENT, roles=ROLES)  # type: ignore[arg-type]
    engine.state.provider = Provider(terms, "a wrong secret")
    detail = await refused(browser, there, 503)
    assert "does not know the engine by its client id and secret" in detail
    assert "a wrong secret" not in detail + caplog.text


async def test_who_guesses_codes_is_told_to_wait(browser: httpx.AsyncClient, there: LocalProvider) -> None:
    statuses = [(await browser.get(CALLBACK, params={"code": "x", "state": "x"})).status_code for _ in range(31)]
    assert statuses == [403] * 30 + [429]
    assert there.asked == []


async def test_without_a_provider_there_is_none(engine: Litestar, browser: httpx.AsyncClient) -> None:
    engine.state.provider = None
    for path in (BEGIN, CALLBACK):
        answer = await browser.get(path)
        assert (answer.status_code, "there is no identity provider" in answer.text) == (404, True)


async def test_a_providers_tokens_are_none_of_the_api(browser: httpx.AsyncClient, there: LocalProvider) -> None:
    claims = {"iss": there.issuer, "aud": CLIENT, "sub": "1", "roles": ["backup-admins"]}
    token = jwt.encode(there.header, claims, RSA)
    answer = await browser.get(SESSION, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert json.dumps(claims) not in answer.text
