"""What an ID token says, once it is known to be the provider's own word to us, about this sign-in, and of now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, cast

from authlib.oidc.core import CodeIDToken
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, KeySet, OKPKey, RSAKey

from api.identity import ROLES, Identity, Role
from api.oidc.terms import Terms
from schemas.tokens import PROVIDED

LEEWAY = 60  # seconds by which the provider's clock may differ
# asymmetric ones alone: a key that everybody can read signs nothing
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
SMALLEST_RSA = 2_048  # bits
MOST_VALUES = 1_000  # of one claim
LONGEST_NAME = 128  # characters
NAMES = ("preferred_username", "email", "sub")

Claims = dict[str, Any]


class Wrong(Exception):
    """An ID token that lets nobody in, and why."""


class UnknownKey(Wrong):
    """It is signed with a key that the provider had not named when it was asked last."""


def keys_of(document: Any) -> KeySet:
    """Return the keys of a JWK set that may have signed an ID token; those that cannot be used are left out."""
    found: list[Key] = []
    listed = cast("dict[str, Any]", document).get("keys") if isinstance(document, dict) else None
    for one in cast("list[Any]", listed if isinstance(listed, list) else [])[:MOST_VALUES]:
        if not isinstance(one, dict) or cast("Claims", one).get("use", "sig") != "sig":
            continue
        try:
            found += _key(cast("dict[str, Any]", one))
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    return KeySet(found)


def _key(one: dict[str, Any]) -> Iterator[Key]:
    match one.get("kty"):
        case "RSA":
            key = RSAKey.import_key(one)
            if key.public_key.key_size >= SMALLEST_RSA:
                yield key
        case "EC":
            yield ECKey.import_key(one)
        case "OKP":
            yield OKPKey.import_key(one)
        case _:
            pass


def verified(token: str, keys: KeySet, terms: Terms, *, nonce: str, access_token: str | None, at: datetime) -> Claims:
    """Return the claims of an ID token that the provider has signed, for us, for this sign-in, and that is valid.

    Raises `UnknownKey`, and `Wrong` with what is wrong.
    """
    try:
        header = jws.extract_compact(token.encode()).headers()
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise Wrong("it is no signed token") from error
    if header.get("alg") not in ALGORITHMS:
        raise Wrong("it is not signed in one of the ways that are taken")
    key = _signer(keys, header.get("kid"))
    try:
        decoded = jwt.decode(token, key, algorithms=ALGORITHMS)
        claims = CodeIDToken(
            decoded.claims,
            decoded.header,
            options={
                "iss": {"essential": True, "value": terms.issuer},
                "aud": {"essential": True, "value": terms.client_id},
                "sub": {"essential": True},
                "nonce": {"essential": True, "value": nonce},
            },
            params={"nonce": nonce, "client_id": terms.client_id, "access_token": access_token},
        )
        claims.validate(int(at.timestamp()), LEEWAY)
    except (JoseError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Wrong(_reason(error)) from error
    return dict(claims)


def _signer(keys: KeySet, kid: Any) -> Key:
    """Return the key of a name; without a name the only one that there is."""
    some = cast("list[Key]", keys.keys)
    found = [key for key in some if key.kid == kid] if kid is not None else some
    if len(found) != 1:
        raise UnknownKey("it is signed with a key that the provider does not name")
    return found[0]


def _reason(error: Exception) -> str:
    """Return what is wrong by the library's name of it, never with what the token says."""
    claim = getattr(error, "claim", None)
    code = getattr(error, "error", "") or type(error).__name__
    return f"{code} ({claim})" if isinstance(claim, str) else str(code)


def actor_of(claims: Claims) -> str:
    """Return who somebody is in audit: by the name that people know, else by what the provider calls them."""
    for name in NAMES:
        found = claims.get(name)
        if name == "email" and claims.get("email_verified") is False:
            continue
        if isinstance(found, str) and 0 < len(found) <= LONGEST_NAME and found.isprintable():
            return f"{PROVIDED}{found}"
    raise Wrong("it names nobody")


def role_of(claims: Claims, terms: Terms) -> Role | None:
    """Return the role of which somebody may do most; None when they have none here."""
    found = [terms.roles[value] for value in values(claims, terms.role_claim) if value in terms.roles]
    return next((role for role in reversed(ROLES) if role in found), None)


def values(claims: Mapping[str, Any], name: str) -> list[str]:
    """Return the texts of a claim, by its name or by a path to it."""
    found: Any = claims.get(name)
    if found is None and "." in name:
        outer, _, inner = name.partition(".")
        within = claims.get(outer)
        return values(cast("Claims", within), inner) if isinstance(within, dict) else []
    listed = cast("list[Any]", found) if isinstance(found, list) else [found]
    return [one for one in listed[:MOST_VALUES] if isinstance(one, str)]


def identity_of(claims: Claims, terms: Terms, groups: frozenset[str] | None) -> Identity | None:
    """Return who has signed in; None when they have no role here. `groups`: what they see, unless they administer."""
    role = role_of(claims, terms)
    if role is None:
        return None
    return Identity(actor=actor_of(claims), role=role, groups=None if role == "admin" else groups)
