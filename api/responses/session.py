"""Who is asking."""

from __future__ import annotations

from datetime import datetime

from api.identity import Role
from schemas.base import Value


class SessionResponse(Value, frozen=True, kw_only=True):
    """Who is asking, and what they may. `groups`: the ids of those whose VMs may be seen; null: all.

    `expires_at`, `csrf_token`: of a session, when its cookie was shown. What changes something needs the token in the
    header `X-CSRF-Token`.
    """

    actor: str
    role: Role
    groups: list[str] | None
    expires_at: datetime | None
    csrf_token: str | None
