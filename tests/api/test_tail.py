"""The tail: what became of commands, from the end of the log."""

from __future__ import annotations

from api.tail import CommandOutcome, Tail
from schemas.events import Rejected
from tests.api.events import started
from tests.support import sent, stored


def test_an_execution_is_waited_for_with_its_whole_plan() -> None:
    """The follower's batch may end between the start and the plan."""
    tail = Tail(4)
    begun = stored(sent(started("x", 1), causationid="k"), 5)
    assert tail.take([begun], 5) == {"k": CommandOutcome(sequence=6, accepted=True)}


def test_the_first_answer_counts_and_the_last_of_its_batch_is_waited_for() -> None:
    no = Rejected(entity="policy", verb="create", id="p", code="conflict", reason="it is there", field="name")
    entries = [stored(sent(no, id=f"a{number}", causationid="k"), number) for number in (5, 6)]
    tail = Tail(4)
    found = tail.take(entries, 6)
    assert found == {
        "k": CommandOutcome(sequence=6, accepted=False, code="conflict", reason="it is there", field="name")
    }
    assert tail.take([stored(sent(no, id="a7", causationid="k"), 7)], 7) == {}
