"""The session of a browser: signing in with a token, who one is, signing out."""

from __future__ import annotations

from datetime import datetime
from secrets import token_urlsafe
from typing import Any

from litestar import Request, Response, delete, get, post
from litestar.datastructures import State
from litestar.params import JSONBody

from api import cookies
from api.auth import Tokens, authenticated
from api.identity import Identity
from api.problems import errors
from api.requests import SignInRequest
from api.responses.session import SessionResponse
from api.sessions import Session
from bus.clock import now

KNOWN = errors(400, 401, 403, 429, 503)
PUBLIC: list[dict[str, list[str]]] = [{}]  # in OpenAPI: nobody has to be known


@post(
    "/session",
    status_code=201,
    responses=errors(400, 401, 403, 413, 422, 429, 503),
    tags=["Session"],
    opt={"public": True},
    security=PUBLIC,
)
async def sign_in(
    request: Request[Any, Any, Any], state: State, data: JSONBody[SignInRequest]
) -> Response[SessionResponse]:
    """Sign in with a token. The response has a cookie, by which this browser is known from then on.

    What changes something needs the header `X-CSRF-Token` beside it, with the `csrf_token` of the response.
    """
    cookies.check_origin(request)
    tokens: Tokens = state.tokens
    identity = authenticated(request, data.token)
    session = tokens.sessions.begin(token_urlsafe(16), now(), token_id=identity.token_id)
    return signed_in(request, identity, session, status_code=201)


@get("/session", responses=KNOWN, tags=["Session"], opt={"role": "viewer"})
async def get_session(request: Request[Identity, Session | None, Any], state: State) -> Response[SessionResponse]:
    """Tell who is asking. A session goes on for another hour by that, twelve at most from when it began."""
    tokens: Tokens = state.tokens
    session = request.scope["auth"]
    if session is None:
        return Response(response_of(request.scope["user"], None, None))
    return signed_in(request, request.scope["user"], tokens.sessions.renewed(session, now()))


@delete("/session", status_code=204, responses=KNOWN, tags=["Session"], opt={"role": "viewer"})
async def sign_out(request: Request[Identity, Session | None, Any], state: State) -> Response[None]:
    """End the session, and let the browser forget its cookie. A token stays as it is."""
    tokens: Tokens = state.tokens
    if request.scope["auth"] is not None:
        tokens.sessions.end(request.scope["auth"], now())
    return Response(None, status_code=204, cookies=[cookies.deleted(request)])


def signed_in(
    request: Request[Any, Any, Any], identity: Identity, session: Session, status_code: int = 200
) -> Response[SessionResponse]:
    """Return who has a session, with its cookie."""
    tokens: Tokens = request.app.state.tokens
    body = response_of(identity, session.expires_at, tokens.sessions.csrf_token(session))
    cookie = cookies.of_session(request, tokens.sessions, session, now())
    return Response(body, status_code=status_code, cookies=[cookie])


def response_of(identity: Identity, expires_at: datetime | None, csrf_token: str | None) -> SessionResponse:
    groups = None if identity.groups is None else sorted(identity.groups)
    return SessionResponse(
        actor=identity.actor, role=identity.role, groups=groups, expires_at=expires_at, csrf_token=csrf_token
    )
