"""What a provider's claims mean here."""

from __future__ import annotations

from typing import Any

import pytest

from api.oidc.claims import SMALLEST_RSA, Wrong, actor_of, identity_of, keys_of, role_of, values
from api.oidc.terms import Terms, checked
from tests.api.oidc.provider import RSA, ec_key, symmetric

TERMS = Terms(
    issuer="https://id.example.org",
    client_id="engine",
    role_claim="realm_access.roles",
    roles={"backup-admins": "admin", "backup-ops": "operator", "staff": "viewer"},
)


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"realm_access": {"roles": ["staff", "backup-admins", "backup-ops"]}}, "admin"),
        ({"realm_access": {"roles": ["backup-ops", "staff"]}}, "operator"),
        ({"realm_access": {"roles": "staff"}}, "viewer"),
        ({"realm_access.roles": ["staff"]}, "viewer"),  # the claim's very name
        ({"realm_access": {"roles": ["Staff", "admin", 7, None]}}, None),
        ({"realm_access": ["staff"]}, None),
        ({"realm_access": None}, None),
        ({}, None),
    ],
)
def test_the_role_of_which_one_may_do_most(claims: dict[str, Any], role: str | None) -> None:
    assert role_of(claims, TERMS) == role


def test_a_claim_named_by_an_address() -> None:
    claims = {"https://example.org/groups": ["a"], "resource_access": {"engine": {"roles": ["b"]}}}
    assert values(claims, "https://example.org/groups") == ["a"]
    assert values(claims, "resource_access.engine.roles") == ["b"]
    assert values(claims, "resource_access.other.roles") == []
    assert len(values({"a": ["x"] * 5_000}, "a")) == 1_000


@pytest.mark.parametrize(
    ("claims", "actor"),
    [
        ({"preferred_username": "eve", "email": "e@example.org", "sub": "1"}, "oidc:eve"),
        ({"email": "e@example.org", "sub": "1"}, "oidc:e@example.org"),
        ({"email": "e@example.org", "email_verified": False, "sub": "1"}, "oidc:1"),
        ({"preferred_username": "e\nadmin", "sub": "1"}, "oidc:1"),
        ({"preferred_username": "", "sub": "1"}, "oidc:1"),
        ({"preferred_username": ["admin"], "sub": "1"}, "oidc:1"),
        ({"preferred_username": "x" * 1_000, "sub": "1"}, "oidc:1"),
        ({"preferred_username": "admin", "sub": "1"}, "oidc:admin"),  # nobody's name here
    ],
)
def test_who_somebody_is_in_audit(claims: dict[str, Any], actor: str) -> None:
    assert actor_of(claims) == actor


def test_who_has_no_name_is_nobody() -> None:
    with pytest.raises(Wrong, match="it names nobody"):
        actor_of({"sub": "\x1b[2J"})


def test_an_identity() -> None:
    groups = frozenset({"g"})
    for role, sees in (("staff", groups), ("backup-admins", None)):
        found = identity_of({"realm_access": {"roles": [role]}, "sub": "1"}, TERMS, groups)
        assert found is not None
        assert (found.groups, found.token_id) == (sees, None)
    assert identity_of({"sub": "1"}, TERMS, None) is None


def test_keys_that_cannot_have_signed_are_left_out() -> None:
    secret = symmetric(b"k" * 32).as_dict()
    weak = {**RSA.as_dict(private=False), "n": "AQAB"}
    other_use = {**ec_key("enc").as_dict(private=False), "use": "enc"}
    listed = [RSA.as_dict(private=False), ec_key().as_dict(private=False), secret, weak, other_use, {"kty": "EC"}, 7]
    assert [key.kid for key in keys_of({"keys": listed}).keys] == ["rsa", "ec"]
    assert SMALLEST_RSA == 2_048
    for nothing in ({}, [], None, {"keys": None}, {"keys": {"a": 1}}):
        assert keys_of(nothing).keys == []


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"issuer": "http://id.example.org"}, "must be an address with https://"),
        ({"issuer": "id.example.org"}, "must be an address with https://"),
        ({"issuer": "https://["}, "must be an address with https://"),
        ({"client_id": ""}, "no client id"),
        ({"roles": {}}, "no role is named"),
        ({"roles": {"a": "root"}}, "a=root: it must be one of viewer, operator, admin"),
    ],
)
def test_terms_that_make_no_sense(changed: dict[str, Any], why: str) -> None:
    given: dict[str, Any] = {"issuer": "https://id.example.org", "client_id": "c", "roles": {"a": "admin"}}
    assert checked(Terms(**given))
    with pytest.raises(ValueError) as refused:
        checked(Terms(**{**given, **changed}))
    assert why in str(refused.value)
