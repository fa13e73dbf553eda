"""What may be done at once, and again as time passes; by key, and in bounded memory whoever comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.attempts import BY_ADDRESS, IN_ALL, MOST_KNOWN, UNGUESSABLE, Attempts
from api.problems import ApiError
from api.rates import SWEEP, Limiter, Rate
from api.shares import Shares

RATE = Rate(per_second=2, burst=3)
LONG = "x" * UNGUESSABLE


def test_a_burst_and_then_its_pace() -> None:
    limiter = Limiter(RATE)
    assert [limiter.take("a", 100.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert limiter.take("a", 100.25) == 0.25
    assert limiter.take("a", 100.5) == 0
    assert limiter.take("a", 100.5) == 0.5
    assert limiter.take("b", 100.5) == 0  # somebody else's is untouched
    assert [limiter.take("a", 200.0) for _ in range(4)] == [0, 0, 0, 0.5]  # and all of it comes back


@given(st.lists(st.floats(0, 3), max_size=60))
def test_never_more_than_the_burst_and_the_pace(pauses: list[float]) -> None:
    limiter, now, done = Limiter(RATE), 0.0, 0
    for pause in pauses:
        now += pause
        done += limiter.take("a", now) == 0
        assert done <= RATE.burst + now * RATE.per_second + 1e-6


def test_a_clock_that_is_set_back_locks_nobody_out_for_long() -> None:
    limiter = Limiter(RATE)
    for _ in range(3):
        limiter.take("a", 1_000_000.0)
    assert limiter.wait("a", 0.0) <= RATE.interval


def test_memory_is_bounded_and_those_beyond_share() -> None:
    limiter = Limiter(RATE, most_keys=100)
    for number in range(5_000):
        limiter.take(f"k{number}", 0.0)
    assert len(limiter) <= 101
    assert limiter.wait("new", 0.0) > 0  # one of too many others
    assert limiter.take("k1", 0.0) == 0  # its own
    later = SWEEP + RATE.burst * RATE.interval
    assert limiter.take("new", later) == 0
    assert len(limiter) < 10


def test_wrong_tokens_are_limited_by_address() -> None:
    attempts = Attempts()
    for _ in range(BY_ADDRESS.burst):
        assert attempts.blocked("a", "guess", 0.0) == 0
        assert attempts.wrong("a", "guess", 0.0) == 0
    assert attempts.blocked("a", "guess", 0.0) == pytest.approx(BY_ADDRESS.interval)
    assert attempts.blocked("b", "guess", 0.0) == 0
    assert attempts.blocked("a", "guess", BY_ADDRESS.interval + 0.01) == 0


def test_wrong_tokens_are_limited_in_all() -> None:
    attempts = Attempts()
    for number in range(IN_ALL.burst):
        attempts.wrong(f"a{number}", "guess", 0.0)
    assert attempts.blocked("new", "guess", 0.0) > 0


def test_a_right_token_never_suffers() -> None:
    """Not where it was right before; and not at all when nobody can have guessed it."""
    attempts = Attempts()
    attempts.right("a", "short")
    for _ in range(2 * IN_ALL.burst):
        attempts.wrong("a", "guess", 0.0)
    assert attempts.blocked("a", "short", 0.0) == 0
    assert attempts.blocked("a", LONG, 0.0) == 0
    assert attempts.blocked("a", "other", 0.0) > 0
    assert attempts.blocked("b", "short", 0.0) == 0  # one address alone cannot use up what is for all
    assert attempts.wrong("a", LONG, 0.0) > 0  # a wrong one is told
    attempts.wrong("a", "short", 0.0)  # it was revoked
    assert attempts.blocked("a", "short", 0.0) > 0


def test_known_tokens_are_not_too_many() -> None:
    attempts = Attempts()
    for number in range(MOST_KNOWN + 10):
        attempts.right("a", str(number))
        attempts.right("a", "often")
    assert len(attempts._known) == MOST_KNOWN
    for _ in range(BY_ADDRESS.burst):
        attempts.wrong("a", "guess", 0.0)
    assert attempts.blocked("a", "often", 0.0) == 0
    assert attempts.blocked("a", "1", 0.0) > 0


def refused(shares: Shares, who: str, now: float, **options: bool) -> ApiError:
    with pytest.raises(ApiError) as error:
        shares.enter(who, now, **options)
    assert error.value.status == 429
    return error.value


def test_one_client_has_its_share_of_requests_in_flight() -> None:
    shares = Shares(most_in_flight=2)
    shares.enter("a", 0.0)
    shares.enter("a", 0.0)
    assert "more requests of a are in flight than one client may have (2)" in refused(shares, "a", 0.0).detail
    shares.enter("b", 0.0)
    shares.enter("a", 0.0, counted=False)  # a stream, which has a limit of its own
    shares.leave("a")
    shares.enter("a", 0.0)
    for who in ("a", "a", "b"):
        shares.leave(who)
    assert not shares._in_flight


def test_and_of_those_that_come() -> None:
    shares = Shares(RATE)
    for _ in range(RATE.burst):
        shares.enter("a", 0.0)
        shares.leave("a")
    error = refused(shares, "a", 0.0, counted=False)
    assert "more than 2 requests a second have come from a" in error.detail
    assert error.headers["Retry-After"] == "1"
    shares.enter("b", 0.0)
