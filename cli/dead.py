"""`flows dead`: messages on the log that could not be used."""

from __future__ import annotations

from typing import Literal
from uuid import uuid4

from rich.console import Console

from bus.clock import now
from bus.envelope import Stored, Unreadable, envelope
from bus.identities import author_of
from bus.log import Log
from cli.actor import actor
from cli.attach import attached
from cli.doctor.folded import Folded, read_on
from cli.printable import json_line
from cli.terminal import print_line
from schemas.events import DeadLettered, DeadSettled

NAME = "flows-dead"


async def show(url: str, console: Console) -> None:
    """Print what is neither retried nor dismissed."""
    async with attached(url, NAME) as log:
        found = await _open(log)
    for one in found:
        place = f"{one.sequence:>7}  {one.service:<10}  {one.reason:<9}  {one.subject}"
        print_line(console, f"{place}: {one.error}")
    count = len({one.sequence for one in found})
    print_line(console, f"{count} messages could not be used" if found else "every message could be used")


async def show_one(url: str, sequence: int, console: Console) -> None:
    """Print one, whole. Raises `ValueError` when it is none of them."""
    async with attached(url, NAME) as log:
        dead_letter, entry = await _one(log, sequence)
    place = f"{dead_letter.sequence} on {dead_letter.subject}, stored {entry.stored_at.isoformat()}"
    print_line(console, f"{place}: {dead_letter.error}")
    print_line(console, json_line(entry.body))


async def retry(url: str, sequence: int) -> int:
    """Append one again, and return where. Raises `ValueError` when it still cannot be read, or is a repeat."""
    async with attached(url, NAME) as log:
        dead_letter, entry = await _one(log, sequence)
        if dead_letter.reason == "repeated":
            raise ValueError(
                f"message {sequence} repeats an earlier one: {dead_letter.error}. There is nothing to retry: dismiss it"
            )
        if isinstance(entry, Unreadable):
            advice = "Dismiss it, or update first"
            raise ValueError(f"message {sequence} still cannot be read: {entry.error}. {advice}")  # noqa: TRY004  data
        # in its author's name: nobody else may append it
        async with attached(url, NAME, user=author_of(entry.subject)) as authors_log:
            appended = await authors_log.append([entry.envelope], expect={})
        await _settle(log, sequence, "retried")
        return appended


async def dismiss(url: str, sequence: int) -> None:
    """Note that nothing is to be done about one, or about another message that `flows doctor` names.

    It may be gone from the log by now. Raises `ValueError` when nothing is wrong with it.
    """
    async with attached(url, NAME) as log:
        letters = {one.sequence for one in await _open(log)}
        if sequence not in letters and sequence not in await _found(log):
            raise ValueError(
                f"message {sequence} is none of those that `flows dead list` shows, or `flows doctor` names: "
                "there is nothing to dismiss"
            )
        await _settle(log, sequence, "dismissed")


async def _found(log: Log) -> set[int]:
    """Return the messages that the doctor finds fault with and nobody has settled."""
    folded = Folded()
    await read_on(log, folded)
    return (folded.repeats.keys() | folded.wrong.keys() | folded.unfolded.keys()) - folded.settled


async def _open(log: Log) -> list[DeadLettered]:
    """Return what is not settled: one for each service that could not use a message."""
    found: dict[int, dict[str, DeadLettered]] = {}  # by message, and service
    for entry in await log.read(["dead.*.*"]):
        data = entry.envelope.data if isinstance(entry, Stored) else None
        if isinstance(data, DeadLettered):
            found.setdefault(data.sequence, {})[data.service] = data
        elif isinstance(data, DeadSettled):
            found.pop(data.sequence, None)
    return [one for of_message in found.values() for one in of_message.values()]


async def _one(log: Log, sequence: int) -> tuple[DeadLettered, Stored | Unreadable]:
    dead_letter = next((one for one in await _open(log) if one.sequence == sequence), None)
    if dead_letter is None:
        raise ValueError(f"message {sequence} is none of those that `flows dead list` shows")
    entries = await log.read([dead_letter.subject], after=sequence - 1, until=sequence)
    if not entries:
        raise ValueError(f"message {sequence} is no longer on the log")
    return dead_letter, entries[0]


async def _settle(log: Log, sequence: int, how: Literal["retried", "dismissed"]) -> None:
    settled = DeadSettled(sequence=sequence, how=how)
    sent = envelope(settled, id=str(uuid4()), source="cli", time=now(), actor=actor())
    await log.append([sent], expect={})
