"""Tickets open a live stream once, and soon; nobody can make one up."""

from __future__ import annotations

from datetime import timedelta

import pytest

from api.tickets import LIFETIME, Tickets
from tests.support import T0


def test_a_ticket_is_good_once() -> None:
    tickets = Tickets(b"key")
    ticket, end = tickets.issue("eve", T0, "nonce")
    assert end == T0 + LIFETIME
    assert tickets.take(ticket, T0) == "eve"
    assert tickets.take(ticket, T0) is None


def test_it_ends_soon() -> None:
    tickets = Tickets(b"key")
    ticket, end = tickets.issue("eve", T0, "nonce")
    assert tickets.take(ticket, end + timedelta(seconds=1)) is None
    assert tickets.take(ticket, end) == "eve"


def test_another_process_with_the_same_key_takes_it() -> None:
    ticket, _ = Tickets(b"key").issue("somebody.else", T0, "nonce")
    assert Tickets(b"key").take(ticket, T0) == "somebody.else"
    assert Tickets(b"other key").take(ticket, T0) is None


def test_those_that_were_taken_are_forgotten_when_they_have_ended() -> None:
    tickets = Tickets(b"key")
    for second in range(100):
        at = T0 + timedelta(seconds=second)
        assert tickets.take(tickets.issue("eve", at, str(second))[0], at) == "eve"
    assert len(tickets._taken) <= LIFETIME.total_seconds() + 1


@pytest.mark.parametrize("made_up", ["", ".", "...", "657665.9999999999.n", "\udcff.1.n.x", "x" * 10_000, "é.é.é.é"])
def test_what_is_made_up_is_nobodys(made_up: str) -> None:
    assert Tickets(b"key").take(made_up, T0) is None


def test_a_later_end_is_not_signed() -> None:
    tickets = Tickets(b"key")
    ticket, end = tickets.issue("eve", T0, "nonce")
    longer = ticket.replace(str(int(end.timestamp())), str(int(end.timestamp()) + 3600))
    assert longer != ticket
    assert tickets.take(longer, T0) is None
