"""Who is asking: an identity, with what it may do (its role) and what of it may be seen (its scope)."""

from __future__ import annotations

from schemas.base import Value
from schemas.definitions import Role

ROLES: tuple[Role, ...] = ("viewer", "operator", "admin")  # each may do all that those before it may


class Identity(Value, frozen=True, kw_only=True):
    """Who has sent a request, as it was authenticated: never what a body says.

    `actor`: the name in audit, `created_by` and `triggered_by`. `groups`: the ids of the protection groups whose VMs,
    flows and all that belongs to these may be seen; None: everything. `token_id`: of the token that it was known by
    (`api.auth.Tokens.identity`); None when it was known by something else.
    """

    actor: str
    role: Role
    groups: frozenset[str] | None = None
    token_id: str | None = None

    def may(self, role: Role) -> bool:
        """Tell whether this identity may do what `role` may."""
        return ROLES.index(self.role) >= ROLES.index(role)

    @property
    def sees_identities(self) -> bool:
        """Whether messages about tokens and enrolled workers are for this identity: administrators of everything."""
        return self.role == "admin" and self.groups is None
