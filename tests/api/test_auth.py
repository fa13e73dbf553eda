"""Who is let in, and who may what: tokens, and every route by every role."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import httpx
import pytest
from litestar import Litestar, Router, get
from litestar.routes import HTTPRoute

from api import auth
from api.attempts import Attempts
from api.auth import ADMIN, Refused, Tokens
from api.identity import ROLES
from tests.api.bare import app as bare
from tests.support import T0, history
from tests.tokens import OPERATOR, SCOPED, VIEWER, known, token

LATER = T0 + timedelta(hours=1)
MALFORMED = (
    *("", " ", "T", "t2", "é", "\udcff", "\x00", "flows_", VIEWER[:-1], f"{VIEWER}x", VIEWER.upper(), VIEWER[6:]),
    *("x" * 100_000, VIEWER + " " * 500, "flows_" + "é" * 43),
)


def test_each_token_opens_what_it_was_made_for() -> None:
    tokens = known(token(), token("ops", OPERATOR, role="operator", groups=["g1", "g2"]))
    viewer, operator = tokens.authenticate(VIEWER, T0), tokens.authenticate(OPERATOR, T0)
    assert (viewer.actor, viewer.role, viewer.groups, viewer.token_id) == ("token-1", "viewer", None, "token-1")
    assert (operator.role, operator.groups) == ("operator", frozenset({"g1", "g2"}))
    assert tokens.authenticate("t", T0) == ADMIN
    assert tokens.identity("ops", T0) == operator
    assert tokens.identity("admin", T0) == ADMIN


@pytest.mark.parametrize("malformed", MALFORMED)
def test_what_is_no_token_opens_nothing(malformed: str) -> None:
    tokens = known(token())
    with pytest.raises(Refused) as refused:
        tokens.authenticate(malformed, T0)
    assert refused.value.token is None
    assert tokens.holder(malformed) is None


def test_one_of_another_cluster_opens_nothing() -> None:
    with pytest.raises(Refused, match="the token is wrong"):
        known(token()).authenticate(OPERATOR, T0)


def test_one_that_was_cut_off_is_told_apart() -> None:
    with pytest.raises(Refused, match="not whole"):
        known(token()).authenticate(VIEWER[:-1], T0)


def test_a_token_ends_at_its_time_to_the_instant() -> None:
    tokens = known(token(expires_at=LATER))
    assert tokens.identity("token-1", LATER - timedelta(microseconds=1)) is not None
    assert tokens.identity("token-1", LATER) is None
    with pytest.raises(Refused, match=r"token 'token-1' expired at .*: ask an administrator"):
        tokens.authenticate(VIEWER, LATER)


def test_a_revocation_counts_as_soon_as_it_is_heard() -> None:
    tokens = known(token())
    identity = tokens.authenticate(VIEWER, T0)
    ticket, _ = tokens.tickets.issue("token-1", T0, "nonce")
    tokens.fold(history(token(version=2, revoked_at=T0, revoked_by="eve")))
    with pytest.raises(Refused, match="was revoked at"):
        tokens.authenticate(VIEWER, T0)
    assert not tokens.stands(identity, T0)
    assert tokens.take_ticket(ticket, T0) is None


def test_a_definition_that_no_registry_decided_changes_nothing() -> None:
    tokens = known(token())
    forged = token("token-1", OPERATOR, role="admin")
    mismatch = type(forged)(id="admin", version=1, definition=forged.definition)
    tokens.fold(history(mismatch, type(forged)(id="token-1", version=2, definition=token("x", OPERATOR).definition)))
    assert tokens.holder(OPERATOR) is None
    assert tokens.identity("token-1", T0) is not None
    assert tokens.identity("admin", T0) == ADMIN


def test_a_refusal_of_a_known_token_is_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    tokens, definition = known(token()), token().definition
    assert definition
    with caplog.at_level(logging.WARNING):
        for second in range(119):
            tokens.report(definition, "it was revoked", "10.0.0.1", "GET /x", T0 + timedelta(seconds=second))
    lines: list[Any] = [one for one in caplog.records if getattr(one, "action", "") == "token_refused"]
    assert [(one.token, one.token_id, one.address, one.route) for one in lines] == [
        ("token-1", "token-1", "10.0.0.1", "GET /x")
    ] * 2


# --- every route --------------------------------------------------------------------------------------------------


def served() -> tuple[Litestar, Tokens]:
    app = bare()
    tokens = known(
        token(),
        token("ops", OPERATOR, role="operator"),
        token("root", SCOPED, role="admin"),
    )
    app.state.tokens = tokens
    return app, tokens


APP, TOKENS = served()
SECRETS = {"viewer": VIEWER, "operator": OPERATOR, "admin": SCOPED}
ROUTES = sorted(
    (route.path, method, handler.opt.get("role"))
    for route in APP.routes
    if isinstance(route, HTTPRoute)
    for handler in route.route_handlers
    for method in handler.http_methods - {"OPTIONS", "HEAD"}
)


# by these somebody becomes known who is not yet
SIGNING_IN = {
    ("/api/v1/session", "POST"),
    ("/api/v1/session/oidc", "GET"),
    ("/api/v1/session/oidc/callback", "GET"),
    ("/api/v1/workers/enrol", "POST"),
}


async def asked(method: str, path: str, token: str | None) -> httpx.Response:
    concrete = "/".join("x" if part.startswith("{") else part for part in path.split("/"))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    transport = httpx.ASGITransport(APP, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        return await client.request(method, concrete, headers=headers)


@pytest.mark.parametrize(("path", "method", "needed"), ROUTES)
async def test_a_route_by_every_role(path: str, method: str, needed: str | None) -> None:
    """What one may do is done, as far as it can be done here, where there is nothing."""
    if needed is None:
        assert not path.startswith("/api/") or (path, method) in SIGNING_IN
        assert (await asked(method, path, None)).status_code not in {401, 403}
        return
    APP.state.attempts = Attempts()  # one address may show so many wrong tokens, and no more
    for nothing in (None, "x" * 43):
        assert (await asked(method, path, nothing)).status_code == 401
    for role, secret in SECRETS.items():
        found = await asked(method, path, secret)
        if ROLES.index(role) >= ROLES.index(needed):  # type: ignore[arg-type]
            assert found.status_code not in {401, 403}, f"{role} is refused: {found.text}"
        else:
            assert found.status_code == 403, f"{role} may {method} {path}"
            assert f"this needs the role {needed}, and you are" in found.json()["detail"]
            assert f"with the role {role}" in found.json()["detail"]
            assert "403" in documented(path, method)


def documented(path: str, method: str) -> set[str]:
    """Return the statuses that OpenAPI names."""
    paths = APP.openapi_schema.to_schema()["paths"]
    plain = path.replace(":str", "")
    return set(paths[plain][method.lower()]["responses"])


def test_what_an_operator_may_and_a_viewer_not() -> None:
    """The rule in words: viewers read, operators run, cancel, enable; administrators define."""
    for path, method, needed in ROUTES:
        if method == "GET" and needed is not None and not path.startswith("/api/v1/tokens"):
            assert needed == "viewer", path
        if method in {"PUT", "DELETE"} and not path.endswith(("/freeze", "/session")):
            assert needed == "admin", f"{method} {path}"
    by_operators = {path.rpartition("/")[2] for path, _, needed in ROUTES if needed == "operator"}
    assert by_operators == {
        *("enable", "disable", "bulk-enable", "bulk-disable", "execute", "cancel", "retry", "backfill"),
        *("freeze", "backups", "refresh-storage"),
    }


@pytest.mark.parametrize(
    "opt", [{}, {"role": "root"}, {"role": None}, {"public": False}, {"public": True, "role": "x"}]
)
def test_a_route_that_does_not_say_who_may_use_it_stops_the_start(opt: dict[str, Any]) -> None:
    @get("/open", opt=opt, sync_to_thread=False)
    def handler() -> str:
        return ""

    with pytest.raises(ValueError, match="GET /api/open: say opt="):
        auth.check_routes(
            Litestar([Router("/api", route_handlers=[handler], guards=[auth.guard])], openapi_config=None)
        )


def test_a_route_with_a_role_and_no_guard_stops_the_start() -> None:
    @get("/open", opt={"role": "admin"}, sync_to_thread=False)
    def handler() -> str:
        return ""

    with pytest.raises(ValueError, match="GET /open"):
        auth.check_routes(Litestar([handler], openapi_config=None))


# --- addresses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["?token={}", "?access_token={}", "?Token={}", "?x={}", "?q=a&after={}", "/{}"])
async def test_a_token_in_an_address_is_refused_and_not_repeated(query: str, caplog: pytest.LogCaptureFixture) -> None:
    address = f"/api/v1/policies{query.format(VIEWER)}"
    with caplog.at_level(logging.DEBUG):
        for header in (None, VIEWER):
            found = await asked("GET", address, header)
            assert found.status_code == 401
            assert "never taken" in found.json()["detail"]
            assert VIEWER not in found.text
    assert not [one for one in caplog.records if VIEWER in one.getMessage() and one.name != "httpx"]  # the client's own
    told: list[Any] = [one for one in caplog.records if getattr(one, "action", "") == "token_in_address"]
    assert [(one.token, one.address) for one in told] == [("token-1", "127.0.0.1")] * 2
