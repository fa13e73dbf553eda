"""`flows replay`: take past decisions again, with today's code; or send past messages again, to other subjects."""

from __future__ import annotations

import asyncio

import click
from rich.console import Console

from bus.connection import connect
from bus.envelope import Stored
from bus.log import Log
from bus.selection import Filter, Selection
from cli.attach import attached
from cli.describe import describe
from cli.terminal import print_line
from services.executor.replay import Replayed
from services.executor.replay import replay as decide_again

NAME = "flows-replay"
PAGE = 1_000
SAME, DIFFERENT = (" =", "green"), (" ≠", "red")
LONGEST_PAUSE = 60.0  # seconds between two messages that are sent again


async def _history(log: Log) -> list[Stored]:
    entries: list[Stored] = []
    until = (await log.identity()).last_sequence
    async for page in log.pages(after=0, until=until, size=PAGE):
        entries += [entry for entry in page if isinstance(entry, Stored)]
    return entries


async def replay(url: str, execution: str | None, *, step: bool, console: Console) -> bool:
    """Print the chain of an execution and whether each decision is the same today; return whether all are.

    Without an execution: all decisions, and only those that differ are printed. Raises `ValueError` for an unknown one.
    """
    async with attached(url, NAME) as log:
        entries = await _history(log)
    replayed = list(decide_again(entries, complete=False))
    if execution is None:
        return _compare_all(replayed, console)
    return _compare(_chain(entries, execution), _of(execution, replayed), step=step, console=console)


def _compare_all(replayed: list[Replayed], console: Console) -> bool:
    different = [one for one in replayed if not one.equal]
    for one in different:
        _print(one, console)
    print_line(console, f"{len(replayed):,} decisions, {len(different):,} of them different today")
    return not different


def _of(execution: str, replayed: list[Replayed]) -> list[Replayed]:
    """Return the decisions of the log, whatever they are about, and of those that it lacks the execution's."""
    return [
        one
        for one in replayed
        if one.entry is not None or getattr(one.today and one.today.event, "execution_id", None) == execution
    ]


def _chain(entries: list[Stored], execution: str) -> list[Stored]:
    """Return what is about an execution, and what caused that, in order. Raises `ValueError` when there is nothing."""
    selection = Selection(Filter(execution=execution))
    selected = [entry for entry in entries if selection.takes(entry)]
    if not selected:
        raise ValueError(f"the log knows no execution {execution!r}")
    sequences = {entry.sequence for entry in selected}
    causes = {entry.envelope.causationid for entry in selected if _about(entry) == execution}
    return [entry for entry in entries if entry.sequence in sequences or entry.envelope.id in causes]


def _compare(chain: list[Stored], replayed: list[Replayed], *, step: bool, console: Console) -> bool:
    recorded = {one.entry.sequence: one for one in replayed if one.entry is not None}
    same = different = 0
    for entry in chain:
        one = recorded.get(entry.sequence)
        if one is None:
            print_line(console, f"   {_words(entry)}")
            continue
        if step:
            click.pause("   … press any key for the next decision")
        _print(one, console)
        same, different = same + one.equal, different + (not one.equal)
    for one in replayed:
        if one.entry is None:
            _print(one, console)
            different += 1
    text = f"{same} decisions are the same today" + (f", {different} are not" if different else "")
    print_line(console, text)
    return not different


def _about(entry: Stored) -> str | None:
    return getattr(entry.envelope.data, "execution_id", None)


def _words(entry: Stored) -> str:
    at = f"{entry.envelope.time:%Y-%m-%d %H:%M:%S}"
    return f"{entry.sequence:>7}  {at}  {entry.envelope.type:<20}  {describe(entry)}"


def _print(one: Replayed, console: Console) -> None:
    if one.entry is None:
        assert one.today is not None
        print_line(console, DIFFERENT, f" {one.position:>7}  today also: {one.today.id}")
        return
    print_line(console, SAME if one.equal else DIFFERENT, f" {_words(one.entry)}")
    if one.equal:
        return
    if one.today is None:
        print_line(console, "           today: nothing is decided here")
        return
    recorded, today = one.entry.envelope.data, one.today.event
    for field in recorded.__struct_fields__:
        then, now = getattr(recorded, field), getattr(today, field, None)
        if then != now:
            print_line(console, f"           {field}: {then!r} then, {now!r} today")


async def publish(url: str, execution: str | None, prefix: str, speed: float, console: Console) -> None:
    """Send messages again, in order, to `prefix`.<subject>; with a speed, in their own rhythm, so many times faster."""
    client = await connect(url, NAME)
    try:
        log = Log(client)
        entries = await _history(log)
        selection = Selection(Filter(execution=execution))
        chosen = [entry for entry in entries if selection.takes(entry)]
        before = chosen[0].envelope.time if chosen else None
        for entry in chosen:
            if speed and before is not None:
                pause = (entry.envelope.time - before).total_seconds() / speed
                await asyncio.sleep(min(max(pause, 0.0), LONGEST_PAUSE))
            before = entry.envelope.time
            await client.publish(
                f"{prefix}.{entry.subject}", entry.body, headers={"Nats-Sequence": str(entry.sequence)}
            )
        await client.flush()
        print_line(console, f"{len(chosen):,} messages were sent to {prefix}.>")
    finally:
        await client.close()
