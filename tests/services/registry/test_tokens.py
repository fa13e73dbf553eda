"""The registry on tokens: what is created is never changed but revoked, and a name is used once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from schemas import commands as c
from schemas.definitions import TokenSpec
from schemas.events import Rejected, TokenDefined
from services.catalogue import Catalogue
from services.registry.changes import changes
from services.registry.domain import State, decide, evolve
from tests.support import T0, group, sent, stored
from tests.tokens import token

LATER = T0 + timedelta(hours=1)
DIGEST = "0" * 64


def house(*events: TokenDefined) -> Catalogue:
    found = Catalogue()
    for event in (group(), *events):
        found.evolve(event)
    return found


def create(catalogue: Catalogue, **given: Any) -> Any:
    spec = TokenSpec(**{"name": "ci", "role": "viewer", "digest": DIGEST, **given})
    return outcome(catalogue, c.CreateToken(id="token-9", spec=spec))


def outcome(catalogue: Catalogue, command: c.Command) -> Any:
    found = changes(catalogue, command, actor="eve", time=LATER)
    if isinstance(found, Rejected):
        return found
    (event,) = found
    catalogue.evolve(event)
    return event.definition


def test_a_token_is_created() -> None:
    made = create(house(), role="operator", groups=["group-1"], expires_at=LATER + timedelta(days=1))
    assert (made.name, made.role, made.groups, made.version) == ("ci", "operator", ["group-1"], 1)
    assert (made.created_by, made.created_at, made.revoked_at) == ("eve", LATER, None)


@pytest.mark.parametrize(
    ("given", "code", "field", "reason"),
    [
        ({"name": "token-1"}, "conflict", "name", "'token-1' exists"),
        ({"name": "TOKEN-1"}, "conflict", "name", "'token-1' exists"),
        ({"name": "gone"}, "conflict", "name", "'gone' was revoked"),
        ({"name": "admin"}, "invalid", "name", "pass for somebody else"),
        ({"name": "Scheduler"}, "invalid", "name", "pass for somebody else"),
        ({"name": "OIDC:eve"}, "invalid", "name", "pass for somebody else"),
        ({"name": " ci"}, "invalid", "name", "pass for somebody else"),
        ({"groups": ["group-1", "nowhere"]}, "invalid", "groups", "no group 'nowhere'"),
        ({"expires_at": LATER}, "invalid", "expires_at", "has passed already"),
    ],
)
def test_what_is_wrong_with_a_new_one(given: dict[str, Any], code: str, field: str, reason: str) -> None:
    there = house(token(), token("gone", "another", revoked_at=T0, revoked_by="admin"))
    refused = create(there, **given)
    assert isinstance(refused, Rejected)
    assert (refused.code, refused.field) == (code, field)
    assert reason in refused.reason


def test_a_secret_is_one_tokens() -> None:
    there = house(token())
    refused = create(there, digest=there.tokens["token-1"].digest)
    assert (refused.code, refused.field) == ("conflict", "digest")


def test_a_revoked_one_stays_revoked() -> None:
    there = house(token())
    revoked = outcome(there, c.RevokeToken(id="token-1"))
    assert (revoked.revoked_at, revoked.revoked_by, revoked.version) == (LATER, "eve", 2)
    assert outcome(there, c.RevokeToken(id="token-1")) == revoked
    spec = TokenSpec(name="other", role="admin", digest=DIGEST)
    assert outcome(there, c.CreateToken(id="token-1", spec=spec)).code == "conflict"
    assert outcome(there, c.RevokeToken(id="nobodys")).code == "not_found"


def test_two_with_one_name_asked_for_at_once() -> None:
    """The second rests on the first, which is not on the log yet; deciding leaves no trace of it."""
    state = State()
    for number, id_ in enumerate(("one", "two"), start=1):
        spec = TokenSpec(name="ci", role="viewer", digest=DIGEST.replace("0", str(number)))
        evolve(state, stored(sent(c.CreateToken(id=id_, spec=spec), id=f"command-{number}"), number))
    first, second = (batch[0].event for batch in decide(state))
    assert isinstance(first, TokenDefined)
    assert isinstance(second, Rejected)
    assert state.catalogue.tokens == {}
    assert [type(batch[0].event) for batch in decide(state)] == [TokenDefined, Rejected]
