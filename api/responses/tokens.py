"""Tokens of the API, without their secrets."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from schemas.base import Value
from schemas.definitions import Role


class TokenResponse(Value, frozen=True, kw_only=True):
    """A token. `groups`: the ids of those that it is limited to; null: no limit.

    `last_used_at`, `last_refused_at`: about, within a minute; null: never, or it is not known.
    """

    id: str
    name: str
    role: Role
    groups: list[str] | None
    status: Literal["active", "expired", "revoked"]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str | None
    last_used_at: datetime | None
    last_refused_at: datetime | None


class CreatedToken(TokenResponse, frozen=True, kw_only=True):
    """A token that was just created. `secret` is what requests send: it is nowhere else, and not shown again."""

    secret: str


class PendingToken(Value, frozen=True, kw_only=True):
    """A token that the log will have as soon as a registry runs: its outcome will be at the command's address.

    `secret` opens nothing before; it is not shown again.
    """

    command_id: str
    status: str
    message: str
    secret: str


class TokenList(Value, frozen=True, kw_only=True):
    tokens: list[TokenResponse]
    total: int
