"""Who is asking: a bearer token on every route of the API, a browser's session, or for live events a ticket.

And whether they may: each route says in its `opt` which role it needs (`{"role": "viewer"}`), or that it is `public`.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from litestar import Litestar
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.routes import HTTPRoute

from api import cookies
from api.attempts import Attempts
from api.cookies import Connection
from api.identity import ROLES, Identity
from api.oidc.sign_ins import SignIns
from api.problems import ApiError, too_many
from api.refusals import address_of
from api.sessions import Session, Sessions
from api.shares import KEY, UNCOUNTED, Shares
from api.tickets import Tickets
from api.usage import Usage
from bus.clock import now
from bus.envelope import Entry, Stored
from bus.reading import Page
from schemas import tokens as secrets
from schemas.definitions import Role, Token
from schemas.events import TokenDefined
from schemas.ids import instant

ADMIN = Identity(actor="admin", role="admin", token_id="admin")  # noqa: S106  no secret, but whose it is
TICKETED = "ticketed"  # the option of a route that takes tickets
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="flows"'}
ENDED = "the session has ended: sign in again"
WRONG_TICKET = "the ticket is not valid, was used before, or has ended: POST /api/v1/live/ticket gives another one"
TOO_MANY_WRONG = "too many wrong tokens were shown"
HINT = "send the header `Authorization: Bearer <token>`; the engine's start says which file holds the token"
ANOTHER = "ask an administrator for another one (`flows token create`)"
IN_ADDRESS = (
    "a token in an address is never taken: addresses are kept in logs and histories. Send the header "
    "`Authorization: Bearer <token>`. Somebody may have read this one on its way: revoke it (`flows token revoke`)"
)
PARAMETERS = frozenset({"token", "access_token", "api_token", "auth_token", "bearer", "authorization"})
REPORT_EVERY = timedelta(minutes=1)  # a refusal of the same known token

log = logging.getLogger(__name__)


class Refused(Exception):
    """A token opens nothing, and why. `token`: the one that it is, when it is known."""

    def __init__(self, reason: str, token: Token | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.token = token


class Tokens:
    """Tells who holds a token: the administrator's, in a file, or one of those on the log.

    It must be given every `catalog.token.*` there is (`fold`), and then what comes after (`hear`): a revocation counts
    as soon as the log has it, whatever the tables say.
    """

    def __init__(self, admin_token: str) -> None:
        if not admin_token:
            raise ValueError("the admin token is empty")
        self._admin = secrets.digest_of(admin_token)
        self._by_digest: dict[str, Token] = {}
        self._by_id: dict[str, Token] = {}
        self._reported: dict[str, datetime] = {}  # by token: when its refusal was last told
        self.tickets = Tickets(admin_token.encode())
        self.sessions = Sessions(admin_token.encode())
        self.sign_ins = SignIns(admin_token.encode())
        self.usage = Usage()

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

    def fold(self, entries: Iterable[Entry]) -> None:
        """Take in what the log says of tokens."""
        for entry in entries:
            if isinstance(entry, Stored) and isinstance(entry.envelope.data, TokenDefined):
                self._define(entry.envelope.data)

    def hear(self, page: Page) -> None:
        """Take in what the log says next."""
        self.fold(page.entries)

    def _define(self, event: TokenDefined) -> None:
        token = event.definition
        if event.id == ADMIN.token_id or (token is not None and token.id != event.id):
            return  # no registry has decided that
        if (before := self._by_id.pop(event.id, None)) is not None:
            self._by_digest.pop(before.digest, None)
        if token is not None:
            self._by_id[token.id] = self._by_digest[token.digest] = token

    def authenticate(self, token: str, at: datetime) -> Identity:
        """Return who holds a token. Raises `Refused`."""
        digest = secrets.digest_of(token[: secrets.LONGEST])
        if len(token) <= secrets.LONGEST and hmac.compare_digest(digest, self._admin):
            return ADMIN
        found = self._by_digest.get(digest)
        if found is None or not hmac.compare_digest(digest, found.digest) or len(token) > secrets.LONGEST:
            cut = token.startswith(secrets.PREFIX) and not secrets.is_whole(token)
            raise Refused("the token is not whole: was it cut off, or is there more?" if cut else "the token is wrong")
        if reason := _ended(found, at):
            raise Refused(reason, found)
        return _identity(found)

    def holder(self, token: str) -> Identity | None:
        """Return who holds a token now; None when it opens nothing."""
        try:
            return self.authenticate(token, now())
        except Refused:
            return None

    def identity(self, token_id: str, at: datetime) -> Identity | None:
        """Return who holds the token with this id; None when there is none, or it is revoked or expired."""
        if token_id == ADMIN.token_id:
            return ADMIN
        found = self._by_id.get(token_id)
        return None if found is None or _ended(found, at) else _identity(found)

    def stands(self, identity: Identity, at: datetime) -> bool:
        """Tell whether what an identity was known by still opens something: one without a token is not ours to say."""
        return identity.token_id is None or self.identity(identity.token_id, at) is not None

    def in_session(self, session: Session, at: datetime) -> Identity | None:
        """Return whose session it is; None once it has ended, as its token did."""
        return session.identity if session.token_id is None else self.identity(session.token_id, at)

    def take_ticket(self, ticket: str, at: datetime) -> Identity | None:
        """Return who has paid for a ticket, the first time (`Tickets.take`), while their token still opens anything."""
        token_id = self.tickets.take(ticket, at)
        return None if token_id is None else self.identity(token_id, at)

    def report(self, token: Token, reason: str, address: str, route: str, at: datetime) -> None:
        """Say that a known token was refused: in the log, once a minute for each, and beside it."""
        self.usage.refused(token.id, at)
        if (last := self._reported.get(token.id)) is not None and at - last < REPORT_EVERY:
            return
        self._reported[token.id] = at
        about = {"action": "token_refused", "token_id": token.id, "token": token.name, "address": address}
        log.warning("refused token %r from %s: %s", token.name, address, reason, extra={**about, "route": route})


def _identity(token: Token) -> Identity:
    groups = None if token.groups is None else frozenset(token.groups)
    return Identity(actor=token.name, role=token.role, groups=groups, token_id=token.id)


def _ended(token: Token, at: datetime) -> str | None:
    """Return why a token opens nothing any more, None while it does."""
    if token.revoked_at is not None:
        return f"token {token.name!r} was revoked at {instant(token.revoked_at)}: {ANOTHER}"
    if token.expires_at is not None and token.expires_at <= at:
        return f"token {token.name!r} expired at {instant(token.expires_at)}: {ANOTHER}"
    return None


async def guard(connection: Connection, handler: BaseRouteHandler) -> None:
    """Let only those in who are known, who may do what the route does, and who do not take more than is their share.

    Notes who it is. Raises 401, and 403.
    """
    connection.scope["auth"] = None
    if handler.opt.get("public"):
        return
    identity = _authenticated(connection, handler)
    connection.scope["user"] = identity
    needed = role_of(handler)
    if needed is not None and not identity.may(needed):
        who = f"you are {identity.actor!r} with the role {identity.role}"
        raise ApiError(403, f"this needs the role {needed}, and {who}: ask an administrator")
    _count(connection, identity, in_flight=not handler.opt.get(UNCOUNTED))


def _count(connection: Connection, identity: Identity, *, in_flight: bool) -> None:
    """Count a request for its identity; `shared` lets go of it when it has ended. Raises 429."""
    shares: Shares = connection.app.state.shares
    who = identity.token_id or identity.actor
    shares.enter(who, now().timestamp(), counted=in_flight)
    if in_flight:
        connection.scope[KEY] = who  # type: ignore[literal-required]


def _authenticated(connection: Connection, handler: BaseRouteHandler) -> Identity:
    tokens: Tokens = connection.app.state.tokens
    at = now()
    _check_address(connection, tokens, at)
    header = connection.headers.get("authorization")
    if header is None and cookies.shown(connection) is not None:
        session = cookies.session_of(connection, tokens.sessions, at)
        identity = session and tokens.in_session(session, at)
        if identity is None:
            raise ApiError(401, ENDED, headers=CHALLENGE)
        if identity.token_id is not None:
            tokens.usage.used(identity.token_id, at)
        connection.scope["auth"] = session
        return identity
    ticket = connection.query_params.get("ticket") if handler.opt.get(TICKETED) else None
    if ticket is not None and header is None:
        if (identity := tokens.take_ticket(ticket, at)) is None:
            raise ApiError(401, WRONG_TICKET, headers=CHALLENGE)
        return identity
    return identified(connection)


def identified(connection: Connection) -> Identity:
    """Return who holds the token that a request shows. Raises 401, and 429 as `authenticated` does."""
    header = connection.headers.get("authorization")
    if header is None:
        raise ApiError(401, f"there is no token: {HINT}", headers=CHALLENGE)
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":
        raise ApiError(401, f"this is no Bearer token: {HINT}", headers=CHALLENGE)
    return authenticated(connection, token.strip())


def authenticated(connection: Connection, token: str) -> Identity:
    """Return who holds a token, and note that it was used. Raises 401, and 429 for too many guesses (`Attempts`)."""
    tokens: Tokens = connection.app.state.tokens
    attempts: Attempts = connection.app.state.attempts
    address, at = address_in(connection), now()
    if seconds := attempts.blocked(address, token, at.timestamp()):
        raise too_many(TOO_MANY_WRONG, seconds)
    try:
        identity = tokens.authenticate(token, at)
    except Refused as refused:
        if refused.token is None:
            if seconds := attempts.wrong(address, token, at.timestamp()):
                raise too_many(TOO_MANY_WRONG, seconds) from None
            raise ApiError(401, f"{refused.reason}: {HINT}", headers=CHALLENGE) from None
        tokens.report(refused.token, refused.reason, *_where(connection), at)
        raise ApiError(401, refused.reason, headers=CHALLENGE) from None
    attempts.right(address, token)
    if identity.token_id is not None:
        tokens.usage.used(identity.token_id, at)
    return identity


def _check_address(connection: Connection, tokens: Tokens, at: datetime) -> None:
    """Refuse a token in the address, whatever the header says, without repeating it. Raises 401."""
    parts = [("", part) for part in connection.scope["path"].split("/")]
    for name, value in (*parts, *connection.query_params.multi_items()):
        if name.casefold() not in PARAMETERS and not secrets.is_whole(value):
            continue
        try:
            identity = tokens.authenticate(value, at)
        except Refused:
            pass
        else:
            address, route = _where(connection)
            about = {"action": "token_in_address", "token_id": identity.token_id, "token": identity.actor}
            text = "%r sent its token in an address, from %s: it should be revoked"
            log.warning(text, identity.actor, address, extra={**about, "address": address, "route": route})
        raise ApiError(401, IN_ADDRESS, headers=CHALLENGE)


def _where(connection: Connection) -> tuple[str, str]:
    """Return the address that a request came from, and its route."""
    host = connection.client.host if connection.client else "unknown"
    return host, f"{connection.scope.get('method', '')} {connection.scope.get('path_template', '')}"


def address_in(connection: Connection) -> str:
    """Return what stands for the client of a request."""
    return address_of(connection.client.host if connection.client else None)


def role_of(handler: BaseRouteHandler) -> Role | None:
    """Return the role that a route needs; None when it says none."""
    return handler.opt.get("role")


def check_routes(app: Litestar) -> None:
    """Raise `ValueError` when a route says neither which role it needs nor that it is public: it would be open."""
    for route in app.routes:
        assert isinstance(route, HTTPRoute), f"{route.path} is no HTTP route: nothing guards it"
        for handler in route.route_handlers:
            if handler.http_methods == {"OPTIONS"}:
                continue  # the framework's own, which says which methods there are
            if not _is_declared(handler):
                methods = ", ".join(sorted(handler.http_methods))
                raise ValueError(
                    f'{methods} {route.path}: say opt={{"role": …}}, one of {", ".join(ROLES)}, or "public"'
                )


def _is_declared(handler: HTTPRouteHandler) -> bool:
    """Tell whether a route says who may use it, and has the guard that sees to it."""
    if handler.opt.get("public") is True:
        return "role" not in handler.opt
    return handler.opt.get("role") in ROLES and guard in handler.resolve_guards()
