"""Who is asking: a bearer token on every route of the API, or for live events a ticket that one has paid for."""

from __future__ import annotations

import hmac
from datetime import datetime
from pathlib import Path
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from api.identity import Identity
from api.problems import ApiError
from api.tickets import Tickets
from bus.clock import now

ADMIN = Identity(actor="admin", role="admin")
TICKETED = "ticketed"  # the option of a route that takes tickets
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="flows"'}
WRONG_TICKET = "the ticket is not valid, was used before, or has ended: POST /api/v1/live/ticket gives another one"
HINT = "send the header `Authorization: Bearer <token>`; the engine's start says which file holds the token"


class Tokens:
    """Tells who holds a token. There is one: the administrator's, in a file."""

    def __init__(self, admin_token: str) -> None:
        if not admin_token:
            raise ValueError("the admin token is empty")
        self._admin_token = admin_token.encode()
        self.tickets = Tickets(self._admin_token)

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

    def take_ticket(self, ticket: str, at: datetime) -> Identity | None:
        """Return who has paid for a ticket, the first time (`Tickets.take`)."""
        return None if self.tickets.take(ticket, at) is None else ADMIN


async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Let only those in who hold a token, or a ticket where the route takes one; note who it is. Raises 401."""
    tokens: Tokens = connection.app.state.tokens
    header = connection.headers.get("authorization")
    ticket = connection.query_params.get("ticket") if handler.opt.get(TICKETED) else None
    if ticket is not None and header is None:
        identity = tokens.take_ticket(ticket, now())
        if identity is None:
            raise ApiError(401, WRONG_TICKET, headers=CHALLENGE)
        connection.scope["user"] = identity
        return
    connection.scope["user"] = identified(connection)


def identified(connection: ASGIConnection[Any, Any, Any, Any]) -> Identity:
    """Return who holds the token that a request shows. Raises 401."""
    tokens: Tokens = connection.app.state.tokens
    header = connection.headers.get("authorization")
    scheme, _, token = (header or "").partition(" ")
    bearer = scheme.lower() == "bearer"
    identity = tokens.holder(token.strip()) if bearer else None
    if identity is None:
        wrong = "there is no token" if header is None else "the token is wrong" if bearer else "this is no Bearer token"
        raise ApiError(401, f"{wrong}: {HINT}", headers=CHALLENGE)
    return identity
