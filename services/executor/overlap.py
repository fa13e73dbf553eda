"""The overlap policy: what happens to the triggers of a flow, all that wait together. One pure function.

The words are Temporal's. Scheduled and manual triggers are treated alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from schemas.base import Value
from schemas.definitions import OverlapPolicy

BUFFERED = 100  # triggers of one flow that may wait with `buffer_all`
_ROOM: dict[OverlapPolicy, int] = {"skip": 0, "buffer_one": 1, "buffer_all": BUFFERED}


class OverlapDecision(Value, frozen=True, kw_only=True):
    """What happens to a trigger. `cancel`: it waits, and what runs is stopped. `skip`: it will not run, and why."""

    action: Literal["start", "wait", "cancel", "skip"]
    reason: str = ""


def overlap(policy: OverlapPolicy, *, running: bool, waiting: Sequence[bool]) -> list[OverlapDecision]:
    """Return what happens to each trigger that waits for a flow, the oldest first.

    `running`: an execution of the flow is under way. `waiting`: for each trigger, whether it would really run when its
    turn comes; one that would not (its flow is disabled) has its turn like the others, and holds up nobody.
    """
    decisions: list[OverlapDecision] = []
    ahead = 0  # that go on waiting
    for number, would_run in enumerate(waiting):
        if policy == "cancel_other" and number < len(waiting) - 1:
            reason = "a newer one takes its place (overlap policy cancel_other)"
            decision = OverlapDecision(action="skip", reason=reason)
        elif policy == "allow" or not running:
            decision = OverlapDecision(action="start")
            running = running or would_run
        elif policy == "cancel_other":
            decision = OverlapDecision(action="cancel")
        elif ahead < _ROOM[policy]:
            decision = OverlapDecision(action="wait")
            ahead += 1
        else:
            decision = OverlapDecision(action="skip", reason=_full(policy, ahead))
        decisions.append(decision)
    return decisions


def in_backfill(limit: int, *, running: int, waiting: Sequence[bool]) -> list[OverlapDecision]:
    """Return what happens to each occurrence that waits in a backfill of which `limit` may run at once."""
    decisions: list[OverlapDecision] = []
    for would_run in waiting:
        starts = running < limit
        decisions.append(OverlapDecision(action="start" if starts else "wait"))
        running += starts and would_run
    return decisions


def _full(policy: OverlapPolicy, ahead: int) -> str:
    waiting = f", and {ahead} already wait for it" if _ROOM[policy] else ""
    return f"an execution of this flow is still running{waiting} (overlap policy {policy})"
