"""Tokens of the API, for tests."""

from __future__ import annotations

from typing import Any

from api.auth import Tokens
from schemas import tokens
from schemas.definitions import Token
from schemas.events import TokenDefined
from tests.support import T0, history

VIEWER, OPERATOR, SCOPED = (tokens.secret(letter * 43) for letter in "vos")


def token(id: str = "token-1", secret: str = VIEWER, **given: Any) -> TokenDefined:
    """Return the event that a token is as said."""
    fields = {"name": id, "role": "viewer", "version": 1, "created_at": T0, "created_by": "admin", **given}
    made = Token(id=id, digest=tokens.digest_of(secret), **fields)
    return TokenDefined(id=id, version=made.version, definition=made)


def known(*events: TokenDefined) -> Tokens:
    """Return who knows these, and the administrator's `t`."""
    found = Tokens("t")
    found.fold(history(*events))
    return found
