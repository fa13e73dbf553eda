"""What must hold of a log, whoever wrote it, and of the world that it comes from. Each promise yields violations."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from bus.envelope import Entry, Stored
from schemas import commands as c
from schemas.ids import manual_execution_id, scheduled_execution_id
from tests.simulation.history import CHANGED, EARLY, SLACK, History, Span, Violation

if TYPE_CHECKING:
    from tests.simulation.processes import Run
    from tests.simulation.world import World


def _unfinished(history: History) -> Iterator[Violation]:
    """Yield what should have ended by now."""
    for id_, (sequence, command) in history.commands.items():
        execution_id = manual_execution_id(id_)
        answered = history.answers.get(id_) or execution_id in history.starts or execution_id in history.skips
        if not answered and not isinstance(command, c.PruneHistory):
            text = f"{type(command).__name__} {id_} has no outcome"
            yield Violation(rule="no outcome", text=text, sequence=sequence)
    for id_, sequence in history.expected.items():
        if id_ not in history.starts and id_ not in history.skips:
            yield Violation(rule="no outcome", text=f"execution {id_} was asked for", sequence=sequence)
    for id_, execution in history.executions.items():
        if not execution.completed:
            flow = execution.started.flow_id
            ends = Counter(backup.end or "open" for backup in execution.backups.values())
            text = f"execution {id_} of {flow} has not ended: {dict(ends)}"
            yield Violation(rule="stays running", text=text, sequence=execution.sequence)


def _once(history: History) -> Iterator[Violation]:
    """Yield what has been decided more than once."""
    for id_, sequences in history.answers.items():
        if len(sequences) > 1 and id_ in history.commands:
            text = f"{type(history.commands[id_][1]).__name__} {id_} has outcomes at {sequences}"
            yield Violation(rule="two outcomes", text=text, sequence=sequences[1])
    for id_ in sorted(history.starts.keys() | history.skips.keys()):
        skips = [sequence for sequence, skip in history.skips.get(id_, ()) if skip.reason != CHANGED]
        places = sorted([*history.starts.get(id_, ()), *skips])
        if len(history.starts.get(id_, ())) > 1:
            text = f"execution {id_} was started at {history.starts[id_]}"
            yield Violation(rule="started twice", text=text, sequence=places[1])
        elif len(places) > 1:
            text = f"execution {id_} was started and skipped, or skipped twice, at {places}"
            yield Violation(rule="two outcomes", text=text, sequence=places[1])
    for id_, sequences in history.ids.items():
        if len(sequences) > 1:
            text = f"the decision {id_} stands at {sequences}"
            yield Violation(rule="said twice", text=text, sequence=sequences[1])


def _occurrences(history: History, until: datetime) -> Iterator[Violation]:
    """Yield occurrences, up to an instant, that have no outcome or several."""
    for flow_id, spans in history.spans.items():
        missed = [(one.first, one.last) for _, one in history.missed[flow_id]]
        executed: dict[datetime, int] = Counter()
        answered: set[datetime] = set()  # also by a skip that says that it was due by replaced definitions only
        for one in {due.occurrence for _, due in history.dues[flow_id]}:
            id_ = scheduled_execution_id(flow_id, one)
            counted = [skip for _, skip in history.skips.get(id_, ()) if skip.reason != CHANGED]
            executed[one] = len(history.starts.get(id_, ())) + len(counted)
            if id_ in history.skips:
                answered.add(one)
        owed = {at for span in spans for at in _due(span, until)}
        possible = {
            at for span in spans for at in span.occurrences(span.after, min(until, (span.closed or until) + SLACK))
        }
        for at in sorted(owed | set(executed)):
            passed = sum(first <= at <= last for first, last in missed)
            outcomes = executed.get(at, 0) + passed
            if at in owed and not outcomes and at not in answered:
                yield Violation(rule="lost occurrence", text=f"{flow_id} at {at:%H:%M} has no outcome")
            if executed.get(at, 0) and passed:
                yield Violation(rule="two outcomes", text=f"{flow_id} at {at:%H:%M} was executed and missed")
        for sequence, one in history.missed[flow_id]:
            if one.first not in possible or one.last not in possible:
                text = f"{flow_id} from {one.first:%H:%M} to {one.last:%H:%M} is said to be missed"
                yield Violation(rule="missed though not scheduled", text=text, sequence=sequence)
        for number, (sequence, one) in enumerate(history.missed[flow_id]):
            for _, other in history.missed[flow_id][:number]:
                if one.first <= other.last and other.first <= one.last:
                    text = f"{flow_id} from {one.first:%H:%M} was missed before"
                    yield Violation(rule="two outcomes", text=text, sequence=sequence)


def _due(span: Span, until: datetime) -> Iterator[datetime]:
    """Yield what a span owes for certain: what is between two changes, as far as clocks can tell."""
    # a definition that came late: what was before it was another one's
    after = max(span.after, span.known + EARLY) if span.known - span.after > SLACK / 4 else span.after
    yield from span.occurrences(after, until if span.until is None else min(until, span.until))


def _dead_letters(history: History) -> Iterator[Violation]:
    """Yield unreadable messages that have no dead letter, or several."""
    for entry in history.unreadable:
        if history.dead[entry.sequence] != 1:
            text = f"message {entry.sequence} cannot be read and has {history.dead[entry.sequence]} dead letters"
            yield Violation(rule="dead letter", text=text, sequence=entry.sequence)


def _asked(world: World, history: History) -> Iterator[Violation]:
    """Yield commands that stand on the log twice, though their client looks whether they do."""
    careless = {request.id for request in world.scenario.requests if request.careless}
    for id_, sequences in history.asked.items():
        if len(sequences) > 1 and id_ not in careless:
            yield Violation(rule="asked twice", text=f"the command {id_} stands at {sequences}", sequence=sequences[1])


def unfinished(world: World) -> list[Violation]:
    """Return what is not over yet in a world: on its log, and in its queues."""
    history = History(world.entries)
    return [*_unfinished(history), *_queues(world)]


def settled_up_to(entries: Sequence[Entry]) -> int:
    """Return up to where all that was asked is over, and short of the last word on any flow's occurrences."""
    history = History(entries)
    open_ones = [violation.sequence for violation in _unfinished(history)]
    last_words = [max(seq for seq, _ in [*history.dues[flow], *history.missed[flow]]) for flow in history.dues]
    causes = [
        sequence
        for id_, execution in history.executions.items()
        if not execution.completed
        for sequence in (history.expected.get(id_, execution.sequence),)
    ]
    return min([*open_ones, *last_words, *causes, len(entries) + 1]) - 1


def _queues(world: World) -> Iterator[Violation]:
    for name, consumer in world.server.consumers.items():
        left = len(consumer.outstanding)
        if consumer.pending or left:
            text = f"the queue {name} has {consumer.pending} messages that nobody took, {left} that nobody answered"
            yield Violation(rule="queue", text=text)


# the gravest first: what a failing seed is named after, and what shrinking keeps
GRAVE = (
    *(
        "started twice",
        "fired though not scheduled",
        "fence",
        "two outcomes",
        "lost occurrence",
        "forgotten definition",
    ),
    *("ended twice", "stopped twice", "limit", "counters", "stays running", "no outcome", "replay", "said twice"),
)


def check(world: World) -> list[Violation]:
    """Return every promise that was not kept in a world that has come to its end, the gravest first."""
    history = History(world.entries)
    until = world.at(world.healed_at)
    found = [*history.violations, *_once(history), *_occurrences(history, until), *_dead_letters(history)]
    if not world.quiet:
        found += [*_unfinished(history), *_queues(world)]
    found += [*_asked(world, history), *_fences(world), *_alive(world), *_tables(world), *_replayed(history.entries)]
    return sorted(found, key=lambda one: GRAVE.index(one.rule) if one.rule in GRAVE else len(GRAVE))


def _fences(world: World) -> Iterable[Violation]:
    """Yield attempts at one backup that ran at once in one process."""
    by_backup: dict[tuple[int, str], list[Run]] = defaultdict(list)
    for run in world.runs:
        by_backup[id(run.process), run.backup_id].append(run)
    for (_, backup_id), runs in by_backup.items():
        for one, other in pairwise(runs):
            if one.ended is None or one.ended > other.begun:
                name = one.process.name if one.process else "?"
                text = f"attempts {one.attempt} and {other.attempt} at backup {backup_id} ran at once in {name}"
                yield Violation(rule="fence", text=text)


def _alive(world: World) -> Iterator[Violation]:
    """Yield services that go on failing when nothing goes wrong any more."""
    from tests.simulation.world import CALM

    for place in world.places.values():
        late = [reason for at, reason in place.restarts if at > world.healed_at + CALM / 2]
        if late:
            text = f"{place.name} failed {len(late)} times after all was healed; the last time: {late[-1]}"
            yield Violation(rule="alive", text=text)


def _tables(world: World) -> Iterator[Violation]:
    """Yield rows of a recorder that are not what the log says."""
    from tests.simulation.store import Database

    right = Database()
    try:
        right.apply(world.entries)
    except Exception as error:  # noqa: BLE001  whatever it is, the log cannot be projected
        yield Violation(rule="tables", text=f"the log cannot be projected: {type(error).__name__}: {error}")
        return
    for name, database in world.databases.items():
        differences: list[str] = []
        for table, rows in right.tables.items():
            theirs = database.tables[table]
            for key in sorted(rows.keys() | theirs.keys(), key=str):
                one, other = rows.get(key), theirs.get(key)
                if one != other:
                    columns = [col for col in one if one[col] != other[col]] if one and other else ["the whole row"]
                    differences.append(f"{table} {key} differs in {', '.join(columns)}")
        if differences:
            text = f"{name} has {len(differences)} rows that are not what the log says; the first: {differences[0]}"
            yield Violation(rule="tables", text=text)


def _replayed(entries: Sequence[Entry]) -> Iterator[Violation]:
    """Yield decisions of the executor that its own code does not take again."""
    from services.executor.replay import replay

    stored = [entry for entry in entries if isinstance(entry, Stored)]
    for one in replay(stored, complete=False):
        if one.equal:
            continue
        if one.entry is not None:
            text, sequence = f"{one.entry.envelope.id} is not decided again", one.entry.sequence
        else:
            assert one.today is not None
            text, sequence = f"{one.today.id} is decided too, and was not", one.position
        yield Violation(rule="replay", text=text, sequence=sequence)
