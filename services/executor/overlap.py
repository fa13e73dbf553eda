"""The overlap policy: what becomes of a trigger while an execution of its flow is under way. One pure function.

The words are Temporal's. Scheduled and manual triggers are treated alike.
"""

from __future__ import annotations

from typing import Literal

from schemas.base import Value
from schemas.definitions import OverlapPolicy

BUFFERED = 100  # triggers of one flow that may wait with `buffer_all`
_ROOM: dict[OverlapPolicy, int] = {"skip": 0, "buffer_one": 1, "buffer_all": BUFFERED}


class Verdict(Value, frozen=True, kw_only=True):
    """`cancel`: it waits, and what runs is told to stop. `skip`: it will not run, and why not."""

    action: Literal["start", "wait", "cancel", "skip"]
    reason: str = ""


def overlap(policy: OverlapPolicy, *, running: bool, ahead: int, behind: int) -> Verdict:
    """Return what becomes of a trigger: `ahead` of it so many wait for the same flow, `behind` it so many are newer."""
    if policy == "allow":
        return Verdict(action="start")
    if policy == "cancel_other":
        if behind:
            return Verdict(action="skip", reason="a newer one takes its place (overlap policy cancel_other)")
        return Verdict(action="cancel" if running else "start")
    if not running:
        return Verdict(action="start")
    room = _ROOM[policy]
    if ahead < room:
        return Verdict(action="wait")
    waiting = f", and {ahead} already wait for it" if room else ""
    return Verdict(
        action="skip", reason=f"an execution of this flow is still running{waiting} (overlap policy {policy})"
    )
