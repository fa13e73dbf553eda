"""What is agreed with an identity provider: who we are there, and what its claims mean here."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from api.identity import ROLES, Role
from schemas.base import Value

CALLBACK = "/api/v1/session/oidc/callback"


class Terms(Value, frozen=True, kw_only=True):
    """`issuer`: the provider's address. `client_id`: we, there. `public_url`: how browsers reach us; None: as they do.

    `role_claim`: where the ID token says what somebody is there, and `roles` what that is here. `group_claim`: where it
    names the protection groups that they see; None: they see everything. A claim within another one is written
    `outer.inner`.
    """

    issuer: str
    client_id: str
    role_claim: str = "roles"
    roles: Mapping[str, Role]
    group_claim: str | None = None
    public_url: str | None = None


def checked(terms: Terms) -> Terms:
    """Return terms that make sense. Raises `ValueError` that says what does not."""
    if not is_safe(terms.issuer):
        raise ValueError(
            f"the issuer {terms.issuer!r} must be an address with https:// (http:// on this machine alone), as the "
            "provider's word is what lets people in"
        )
    if not terms.client_id:
        raise ValueError("there is an issuer, and no client id: the provider gives one when the engine is registered")
    if not terms.roles:
        raise ValueError("no role is named, and so nobody could sign in: name one, such as backup-admins=admin")
    for theirs, ours in terms.roles.items():
        if ours not in ROLES:
            raise ValueError(f"{theirs}={ours}: it must be one of {', '.join(ROLES)}")
    return terms


def is_safe(url: str) -> bool:
    """Tell whether an address is spoken to by TLS, or is on this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and _is_here(host)))


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
