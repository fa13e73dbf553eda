"""What a session's cookie says is signed, ends, and is good on every API process with the same key."""

from __future__ import annotations

from datetime import timedelta

import pytest

from api.identity import Identity
from api.sessions import IDLE, LONGEST, MOST_BYTES, MOST_ENDED, Session, Sessions
from tests.support import T0

SECOND = timedelta(seconds=1)
EVE = Identity(actor="oidc:eve", role="operator", groups=frozenset({"g1", "g2"}))


def begun(sessions: Sessions, name: str = "one") -> Session:
    return sessions.begin(name, T0, token_id="t1")


def test_another_process_with_the_same_key_takes_it() -> None:
    session = begun(Sessions(b"key"))
    cookie = Sessions(b"key").cookie(session)
    assert Sessions(b"key").read(cookie, T0) == session
    assert Sessions(b"other key").read(cookie, T0) is None
    assert Sessions(b"key").csrf_token(session) == Sessions(b"key").csrf_token(session)


def test_an_identity_travels_whole() -> None:
    sessions = Sessions(b"key")
    cookie = sessions.cookie(sessions.begin("one", T0, identity=EVE))
    found = sessions.read(cookie, T0)
    assert found is not None
    assert (found.identity, found.token_id) == (EVE, None)


def test_it_ends_when_it_is_idle_and_is_renewed_until_its_end_alone() -> None:
    sessions = Sessions(b"key")
    session, at = begun(sessions), T0
    assert sessions.read(sessions.cookie(session), T0 + IDLE - SECOND) == session
    assert sessions.read(sessions.cookie(session), T0 + IDLE) is None
    while at < T0 + LONGEST - IDLE:
        at += IDLE / 2
        session = sessions.renewed(session, at)
        assert sessions.read(sessions.cookie(session), at + IDLE - SECOND) == session
    session = sessions.renewed(session, T0 + LONGEST - SECOND)
    assert sessions.read(sessions.cookie(session), T0 + LONGEST - SECOND) == session
    assert sessions.read(sessions.cookie(session), T0 + LONGEST) is None


def test_a_copy_of_one_that_was_ended_is_refused_renewed_or_not() -> None:
    sessions = Sessions(b"key")
    session, other = begun(sessions), begun(sessions, "two")
    copy = sessions.cookie(sessions.renewed(session, T0 + IDLE / 2))
    sessions.end(session, T0)
    assert sessions.read(sessions.cookie(session), T0) is None
    assert sessions.read(copy, T0) is None
    assert sessions.read(sessions.cookie(other), T0) == other


def test_those_that_were_ended_are_forgotten_when_they_would_have_and_are_not_too_many() -> None:
    sessions = Sessions(b"key")
    sessions.end(begun(sessions), T0)
    sessions.end(sessions.begin("two", T0 + LONGEST, token_id="t1"), T0 + LONGEST)
    assert len(sessions._ended) == 1
    sessions._ended = {str(number): 2**40 + number for number in range(MOST_ENDED)}
    sessions.end(begun(sessions), T0)
    assert len(sessions._ended) == MOST_ENDED
    assert sessions.read(sessions.cookie(begun(sessions)), T0) is None


def test_the_proof_is_of_one_session() -> None:
    sessions = Sessions(b"key")
    assert sessions.csrf_token(begun(sessions)) != sessions.csrf_token(begun(sessions, "two"))
    assert sessions.csrf_token(begun(sessions)) == sessions.csrf_token(sessions.renewed(begun(sessions), T0 + IDLE))


def test_nothing_in_it_can_be_changed() -> None:
    sessions = Sessions(b"key")
    cookie = sessions.cookie(begun(sessions))
    for place in range(0, len(cookie), 7):
        other = "A" if cookie[place] != "A" else "B"
        assert sessions.read(cookie[:place] + other + cookie[place + 1 :], T0) is None


@pytest.mark.parametrize("made_up", ["", ".", "a.b", "\udcff.\udcff", "é.é", "x" * 100_000, "bnVsbA.0"])
def test_what_is_made_up_is_nobodys(made_up: str) -> None:
    assert Sessions(b"key").read(made_up, T0) is None


def test_what_is_signed_and_is_no_session_is_none() -> None:
    """A later version's cookie, say."""
    sessions = Sessions(b"key")
    for said in ("bnVsbA", "e30", "!", "a"):
        assert sessions.read(f"{said}.{sessions._signer.mark(said)}", T0) is None


def test_an_identity_that_no_browser_would_keep_is_refused() -> None:
    sessions = Sessions(b"key")
    many = Identity(actor="oidc:eve", role="viewer", groups=frozenset(str(number) * 36 for number in range(100)))
    with pytest.raises(ValueError, match="and may have 3800"):
        sessions.cookie(sessions.begin("one", T0, identity=many))
    assert MOST_BYTES < 4_096
