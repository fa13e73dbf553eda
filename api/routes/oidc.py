"""Signing in by an identity provider: a browser is sent there, and comes back with a code."""

from __future__ import annotations

from secrets import token_urlsafe
from typing import Any

from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.params import FromQuery

from api import cookies
from api.attempts import Attempts
from api.auth import TOO_MANY_WRONG, Tokens, address_in
from api.decoding import FOREIGN_QUERY
from api.oidc import claims
from api.oidc.claims import Claims, Wrong
from api.oidc.provider import Provider
from api.oidc.sign_ins import LIFETIME
from api.oidc.terms import CALLBACK
from api.problems import ApiError, errors, shortened, too_many
from api.readmodel import names
from api.resources import AppResources, Resources
from api.routes.session import PUBLIC
from bus.clock import now

SIGN_IN = "flows-sign-in"  # a cookie, from here to the provider and back
HOME = "/"
AGAIN = "sign in again at /api/v1/session/oidc"
NO_PROVIDER = "there is no identity provider: FLOWS_OIDC_ISSUER of the API names one. Sign in with a token"
OTHER_BROWSER = "this sign-in was not begun in this browser, took longer than ten minutes, or is over"
RESPONSES = errors(400, 401, 403, 404, 429, 503)


@get(
    "/session/oidc",
    status_code=302,
    responses=RESPONSES,
    tags=["Session"],
    opt={"public": True},
    security=PUBLIC,
)
async def begin(request: Request[Any, Any, Any], state: State) -> Response[None]:
    """Send a browser to the identity provider. What it is known by when it comes back is in a cookie."""
    provider, tokens = _provider(state), _tokens(state)
    sign_in = tokens.sign_ins.begin(now(), state=token_urlsafe(32), nonce=token_urlsafe(32), verifier=token_urlsafe(48))
    where = await provider.address(sign_in, _redirect_uri(request, provider), now())
    seconds = int(LIFETIME.total_seconds())
    # lax: the provider's page leads back to us, and the browser must show it then
    cookie = cookies.made(request, tokens.sign_ins.cookie(sign_in), seconds, base=SIGN_IN, same_site="lax")
    return Response(None, status_code=302, headers={"Location": where}, cookies=[cookie])


@get(
    CALLBACK.removeprefix("/api/v1"),
    status_code=302,
    responses=RESPONSES,
    tags=["Session"],
    opt={"public": True, FOREIGN_QUERY: True},
    security=PUBLIC,
)
async def finish(
    request: Request[Any, Any, Any],
    resources: AppResources,
    state: State,
    code: FromQuery[str | None] = None,
    error: FromQuery[str | None] = None,
) -> Response[None]:
    """Take in who comes back from the identity provider, and send the browser to the page, signed in.

    The provider has its own parameters beside `code` and `state`, which are passed over.
    """
    provider, tokens, attempts = _provider(state), _tokens(state), _attempts(state)
    address, at = address_in(request), now()
    if seconds := attempts.blocked(address, "", at.timestamp()):
        raise too_many(TOO_MANY_WRONG, seconds)
    forget = {"Set-Cookie": cookies.deleted(request, SIGN_IN).to_header(header="")}
    query = request.query_params
    sign_in = tokens.sign_ins.take(cookies.shown(request, SIGN_IN) or "", query.get("state", ""), at)
    if sign_in is None or query.get("iss", provider.terms.issuer) != provider.terms.issuer:
        attempts.wrong(address, "", at.timestamp())
        raise ApiError(403, f"{OTHER_BROWSER}: {AGAIN}")
    if code is None:
        said = f"it says {shortened(error)!r}" if error and error.isprintable() else "it gives no code"
        raise ApiError(403, f"the identity provider has not signed you in: {said}", headers=forget)
    try:
        found = await provider.claims(code, sign_in, _redirect_uri(request, provider), at)
    except Wrong as wrong:
        attempts.wrong(address, "", at.timestamp())
        detail = f"what the identity provider says of this sign-in is not taken: {wrong}. {AGAIN.capitalize()}"
        raise ApiError(401, detail, headers=forget) from wrong
    cookie = await _session(request, resources, provider, tokens, found)
    return Response(
        None, status_code=302, headers={"Location": HOME}, cookies=[cookie, cookies.deleted(request, SIGN_IN)]
    )


async def _session(
    request: Request[Any, Any, Any], resources: Resources, provider: Provider, tokens: Tokens, found: Claims
) -> Any:
    """Return the cookie of who has signed in. Raises 403 when they have no role here."""
    terms = provider.terms
    try:
        groups = (
            None if terms.group_claim is None else await _groups(resources, claims.values(found, terms.group_claim))
        )
        identity = claims.identity_of(found, terms, groups)
        who = claims.actor_of(found)
    except Wrong as wrong:
        raise ApiError(403, f"the identity provider has signed somebody in, and {wrong}") from wrong
    if identity is None:
        named = ", ".join(sorted(terms.roles))
        raise ApiError(
            403,
            f"{who} has no role here. Ask who administers the identity provider for one of: {named} (the claim "
            f"{terms.role_claim!r}), or an administrator of the engine for a token",
        )
    session = tokens.sessions.begin(token_urlsafe(16), now(), identity=identity)
    try:
        return cookies.of_session(request, tokens.sessions, session, now())
    except ValueError:
        raise ApiError(
            403,
            f"{who} is in more protection groups than a session can hold: ask for fewer of them there, or for a token",
        ) from None


async def _groups(resources: Resources, called: list[str]) -> frozenset[str]:
    """Return the ids of the protection groups that a claim names, by id or by name; what names none is passed over."""
    there = await names.existing(resources.reader, "group", called)
    by_name = await names.named(resources.reader, "group", called)
    return frozenset(there) | {one.ids[0] for one in by_name.values() if one.count == 1}


def _redirect_uri(request: Request[Any, Any, Any], provider: Provider) -> str:
    """Return where the provider sends the browser back to, as it is registered there."""
    public = provider.terms.public_url or f"{request.scope['scheme']}://{request.headers.get('host', '')}"
    return f"{public.rstrip('/')}{CALLBACK}"


def _provider(state: State) -> Provider:
    """Return the identity provider. Raises 404 when there is none."""
    provider: Provider | None = state.provider
    if provider is None:
        raise ApiError(404, NO_PROVIDER)
    return provider


def _tokens(state: State) -> Tokens:
    return state.tokens  # type: ignore[no-any-return]


def _attempts(state: State) -> Attempts:
    return state.attempts  # type: ignore[no-any-return]
