"""Who is asking: a bearer token on every route of the API, a browser's session, or for live events a ticket."""

from __future__ import annotations

import hmac
from datetime import datetime
from pathlib import Path

from litestar.handlers import BaseRouteHandler

from api import cookies
from api.attempts import Attempts
from api.cookies import Connection
from api.identity import Identity
from api.oidc.sign_ins import SignIns
from api.problems import ApiError, too_many
from api.refusals import address_of
from api.sessions import Session, Sessions
from api.shares import KEY, UNCOUNTED, Shares
from api.tickets import Tickets
from bus.clock import now

ADMIN_ID = "admin"
ADMIN = Identity(actor="admin", role="admin", token_id=ADMIN_ID)
TICKETED = "ticketed"  # the option of a route that takes tickets
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="flows"'}
ENDED = "the session has ended: sign in again"
WRONG_TICKET = "the ticket is not valid, was used before, or has ended: POST /api/v1/live/ticket gives another one"
TOO_MANY_WRONG = "too many wrong tokens were shown"
HINT = "send the header `Authorization: Bearer <token>`; the engine's start says which file holds the token"


class Tokens:
    """Tells who holds a token. There is one: the administrator's, in a file."""

    def __init__(self, admin_token: str) -> None:
        if not admin_token:
            raise ValueError("the admin token is empty")
        self._admin_token = admin_token.encode()
        self.tickets = Tickets(self._admin_token)
        self.sessions = Sessions(self._admin_token)
        self.sign_ins = SignIns(self._admin_token)

    @classmethod
    def from_file(cls, file: Path) -> Tokens:
        """Return the tokens of a file. Raises `ValueError` that names the file when it is empty or missing."""
        try:
            token = file.read_text().strip()
        except OSError as error:
            raise ValueError(f"cannot read the admin token from {file}: {error.strerror}") from error
        if not token:
            raise ValueError(f"the admin token file {file} is empty")
        return cls(token)

    def holder(self, token: str) -> Identity | None:
        """Return who holds a token, compared in constant time."""
        return ADMIN if hmac.compare_digest(token.encode(), self._admin_token) else None

    def identity(self, token_id: str, at: datetime) -> Identity | None:
        """Return who holds a token, by its id; None once it was revoked or has ended."""
        del at
        return ADMIN if token_id == ADMIN_ID else None

    def in_session(self, session: Session, at: datetime) -> Identity | None:
        """Return whose session it is; None once it has ended, as its token did."""
        return session.identity if session.token_id is None else self.identity(session.token_id, at)

    def take_ticket(self, ticket: str, at: datetime) -> Identity | None:
        """Return who has paid for a ticket, the first time (`Tickets.take`)."""
        return None if self.tickets.take(ticket, at) is None else ADMIN


async def guard(connection: Connection, handler: BaseRouteHandler) -> None:
    """Let only those in who are known (`_identify`), and no more of their requests than is their share (`Shares`)."""
    connection.scope["auth"] = None
    if handler.opt.get("public"):
        return
    _identify(connection, handler)
    identity: Identity = connection.scope["user"]
    shares: Shares = connection.app.state.shares
    who, counted = identity.token_id or identity.actor, not handler.opt.get(UNCOUNTED)
    shares.enter(who, now().timestamp(), counted=counted)
    if counted:
        connection.scope[KEY] = who  # type: ignore[literal-required]


def _identify(connection: Connection, handler: BaseRouteHandler) -> None:
    """Note who it is: who holds a token, has a session, or a ticket where the route takes one.

    Raises 401, and 403 for a request that a page of another site has sent. `scope["auth"]` is the session, if any.
    """
    tokens: Tokens = connection.app.state.tokens
    header = connection.headers.get("authorization")
    if header is None and cookies.shown(connection) is not None:
        session = cookies.session_of(connection, tokens.sessions, now())
        identity = session and tokens.in_session(session, now())
        if identity is None:
            raise ApiError(401, ENDED, headers=CHALLENGE)
        connection.scope["user"], connection.scope["auth"] = identity, session
        return
    ticket = connection.query_params.get("ticket") if handler.opt.get(TICKETED) else None
    if ticket is not None and header is None:
        identity = tokens.take_ticket(ticket, now())
        if identity is None:
            raise ApiError(401, WRONG_TICKET, headers=CHALLENGE)
        connection.scope["user"] = identity
        return
    connection.scope["user"] = identified(connection)


def identified(connection: Connection) -> Identity:
    """Return who holds the token that a request shows. Raises 401, and 429 as `authenticated` does."""
    header = connection.headers.get("authorization")
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "bearer":
        wrong = "there is no token" if header is None else "this is no Bearer token"
        raise ApiError(401, f"{wrong}: {HINT}", headers=CHALLENGE)
    return authenticated(connection, token.strip())


def authenticated(connection: Connection, token: str) -> Identity:
    """Return who holds a token. Raises 401 when nobody does, and 429 when that was so too often (`Attempts`)."""
    tokens: Tokens = connection.app.state.tokens
    attempts: Attempts = connection.app.state.attempts
    address, at = address_in(connection), now().timestamp()
    if seconds := attempts.blocked(address, token, at):
        raise too_many(TOO_MANY_WRONG, seconds)
    identity = tokens.holder(token)
    if identity is None:
        if seconds := attempts.wrong(address, token, at):
            raise too_many(TOO_MANY_WRONG, seconds)
        raise ApiError(401, f"the token is wrong: {HINT}", headers=CHALLENGE)
    attempts.right(address, token)
    return identity


def address_in(connection: Connection) -> str:
    """Return what stands for the client of a request."""
    return address_of(connection.client.host if connection.client else None)
