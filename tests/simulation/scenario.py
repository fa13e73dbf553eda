"""Scenarios: what is defined, what people ask for, and what goes wrong, all drawn from one seed. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, Literal

from msgspec import structs

from schemas.base import Message, Value
from schemas.definitions import Flow, Member, Policy, Schedule
from schemas.events import FlowDefined, PolicyDefined, ScheduleDefined, SettingsDefined
from tests.simulation.server import BEGINNING
from tests.support import engine_settings, flow, group, policy, repository, schedule, vm

OVERLAPS = ("skip", "buffer_one", "buffer_all", "cancel_other", "allow")
TICK = 60.0  # seconds between two instants at which a schedule may fire
CROWDED = 0.05  # of all scenarios
WINDOW = 120.0  # seconds after which the log no longer knows a message's id

Verb = Literal[
    *("execute", "cancel", "cancel_vm", "retry", "backfill", "backfill_cancel", "backup"),
    *("enable_flow", "disable_flow", "delete_flow", "create_flow", "update_flow", "run_missed"),
    *("enable_schedule", "disable_schedule", "update_schedule", "delete_schedule"),
    *("set_freeze", "lift_freeze", "limit", "disable_vm", "enable_vm", "disable_repository", "enable_repository"),
]
FaultKind = Literal[
    *("crash", "pause", "cut", "blind", "skew", "loss"),
    *("server_pause", "server_restart", "delete_consumer", "unreadable", "expire", "database"),
    *("pause_before", "pause_after", "crash_before", "crash_after", "unanswered", "unsent", "late", "refused"),
]


class Request(Value, frozen=True, kw_only=True):
    """Something that somebody asks for at `at` (seconds), and asks again with the same key after each of `again`.

    `careless`: by a client that does not look whether the key was used before.
    """

    id: str
    at: float
    verb: Verb
    target: str = ""
    argument: str = ""
    again: tuple[float, ...] = ()
    careless: bool = False


class Fault(Value, frozen=True, kw_only=True):
    """Something that goes wrong with `target` for `seconds`.

    At `at` (seconds), or so long after the server has stored message number `message`, or at the target's `op`-th
    publish.
    """

    kind: FaultKind
    target: str
    at: float | None = None
    message: int | None = None
    op: int | None = None
    seconds: float = 0.0
    argument: str = ""


class Scenario(Value, frozen=True, kw_only=True):
    """All that a run depends on, besides the code. `schedule`: which of its interleavings."""

    seed: int
    schedule: int = 0
    seconds: float
    replicas: dict[str, int]
    slowness: float = 1.0
    skews: dict[str, float] = {}
    definitions: tuple[Message, ...] = ()
    requests: tuple[Request, ...] = ()
    faults: tuple[Fault, ...] = ()


def scenario(seed: int, schedule_seed: int = 0) -> Scenario:
    """Return the scenario of a seed."""
    rng = random.Random(f"scenario/{seed}")
    seconds = 60.0 * rng.choice((3, 4, 5, 6, 8, 12))
    replicas = {
        "registry": _few(rng, 2),
        "scheduler": _few(rng, 3),
        "executor": _few(rng, 3),
        "worker": _few(rng, 2),
        "recorder": 2 if rng.random() < 0.15 else 1,
        "api": _few(rng, 2),
    }
    definitions = _definitions(rng)
    targets = [f"{kind}-{number}" for kind, count in replicas.items() for number in range(count)]
    requests = _requests(rng, definitions, seconds)
    definitions = limited(definitions, rng.choice((None, None, None, 1, 2, 3)))
    slowness = rng.choice((0.3, 1.0, 1.0, 5.0, 40.0))
    found = Scenario(
        seed=seed,
        schedule=schedule_seed,
        seconds=seconds,
        replicas=replicas,
        slowness=slowness,
        skews={target: rng.uniform(-20, 20) for target in targets if rng.random() < 0.1},
        definitions=definitions,
        requests=(*requests, *_limits(seed, seconds)),
        faults=_faults(rng, targets, definitions, requests, seconds),
    )
    return _crowded(found, rng) if rng.random() < CROWDED else found


def _crowded(found: Scenario, rng: random.Random) -> Scenario:
    """Return a scenario in which executions take too long, overlap, and are decided on late."""
    definitions: list[Message] = []
    for one in found.definitions:
        match one:
            case FlowDefined(definition=Flow() as flow_):
                changed = structs.replace(
                    flow_, overlap_policy="cancel_other", policy_id="policy-0", schedule_id="schedule-0"
                )
                definitions.append(structs.replace(one, definition=changed))
            case PolicyDefined(definition=Policy() as policy_):
                slow = structs.replace(
                    policy_, execution_timeout_seconds=60, timeout_seconds=None, start_deadline_seconds=None
                )
                definitions.append(structs.replace(one, definition=slow))
            case ScheduleDefined(definition=Schedule() as schedule_):
                definitions.append(
                    structs.replace(one, definition=structs.replace(schedule_, cron_expression=every(1)))
                )
            case _:
                definitions.append(one)
    late = [
        Fault(kind="pause", target=f"executor-{number}", at=TICK * tick - rng.uniform(0, 1), seconds=rng.uniform(1, 9))
        for tick in range(1, int(found.seconds / TICK))
        for number in range(found.replicas["executor"])
    ]
    definitions_ = limited(tuple(definitions), rng.choice((1, 1, 2)))
    return structs.replace(found, definitions=definitions_, faults=(*found.faults, *late))


def limited(definitions: tuple[Message, ...], limit: int | None) -> tuple[Message, ...]:
    """Return definitions under a limit in all; None: under none."""
    others = tuple(one for one in definitions if not isinstance(one, SettingsDefined))
    return others if limit is None else (*others, engine_settings(max_concurrent_jobs=limit, updated_at=BEGINNING))


def _limits(seed: int, seconds: float) -> Iterator[Request]:
    """Yield changes of the limit in all, in some scenarios."""
    rng = random.Random(f"limits/{seed}")
    for number in range(rng.choice((0, 0, 0, 0, 1, 2))):
        argument = rng.choice(("", "1", "2", "3"))
        yield Request(id=f"limit-{number}", at=_moment(rng, seconds), verb="limit", argument=argument)


def every(minutes: int) -> str:
    """Return an expression that matches every so many minutes; in one hour only, as a world does not last longer."""
    return f"*/{minutes} {BEGINNING.hour} * * *"


def _few(rng: random.Random, most: int) -> int:
    return rng.choices(range(1, most + 1), weights=[4, 3, 1][:most])[0]


def _definitions(rng: random.Random) -> tuple[Message, ...]:
    born = {"created_at": BEGINNING, "updated_at": BEGINNING}
    vms = [f"vm-{number}" for number in range(rng.choice((1, 2, 2, 3, 5)))]
    found: list[Message] = [vm(id_, disks=[], **born) for id_ in vms]
    groups = [f"group-{number}" for number in range(rng.choice((1, 1, 2)))]
    for id_ in groups:
        members = [Member(context_id=one, enabled=rng.random() < 0.95) for one in vms if rng.random() < 0.8]
        found.append(group(id_, members, **born))
    repositories = [f"repo-{number}" for number in range(rng.choice((1, 1, 2)))]
    found += [repository(id_, max_concurrent_jobs=rng.choice((None, None, 1, 2)), **born) for id_ in repositories]
    policies = [f"policy-{number}" for number in range(rng.choice((1, 2)))]
    for id_ in policies:
        found.append(
            policy(
                id_,
                retry_attempts=rng.choice((0, 0, 1, 2)),
                retry_delay_seconds=rng.choice((1, 5, 20)),
                timeout_seconds=rng.choice((None, 20, 45)),
                execution_timeout_seconds=rng.choice((None, None, 30, 60, 60, 90)),
                start_deadline_seconds=rng.choice((None, None, 10, 45)),
                **born,
            )
        )
    schedules = [f"schedule-{number}" for number in range(rng.choice((1, 1, 2)))]
    for id_ in schedules:
        found.append(
            schedule(
                id_,
                cron_expression=every(rng.choice((1, 1, 2, 3))),
                catch_up=rng.choice(("none", "last", "last", "all")),
                catch_up_window_seconds=rng.choice((86_400, 86_400, 150)),
                max_concurrent_jobs=rng.choice((None, None, 1)),
                armed_at=BEGINNING,
                **born,
            )
        )
    for number in range(rng.choice((1, 2, 2, 3))):
        by_vm = rng.random() < 0.3
        found.append(
            flow(
                f"flow-{number}",
                target_type="vm" if by_vm else "group",
                target_id=rng.choice(vms if by_vm else groups),
                repository_id=rng.choice(repositories),
                policy_id=rng.choice((None, *policies)),
                schedule_id=rng.choice((None, *schedules, *schedules, *schedules)),
                overlap_policy=rng.choice(OVERLAPS),
                max_concurrent_jobs=rng.choice((None, None, 1, 2)),
                priority=rng.choice((0, 0, 5)),
                armed_at=BEGINNING,
                **born,
            )
        )
    return tuple(found)


def _requests(rng: random.Random, definitions: tuple[Message, ...], seconds: float) -> tuple[Request, ...]:
    ids: dict[str, list[str]] = {}
    for one in definitions:
        kind = type(one).__name__.removesuffix("Defined").lower()
        ids.setdefault(kind, []).append(one.id)  # type: ignore[attr-defined]
    flows, schedules = ids["flow"], ids["schedule"]
    choices: list[tuple[int, Callable[[], dict[str, Any]]]] = [
        (5, lambda: {"verb": "execute", "target": rng.choice(flows)}),
        (4, lambda: {"verb": "cancel", "target": rng.choice(flows)}),
        (1, lambda: {"verb": "cancel_vm", "target": rng.choice(flows)}),
        (1, lambda: {"verb": "retry", "target": rng.choice(flows)}),
        (1, lambda: {"verb": "backfill", "target": rng.choice(flows), "argument": str(rng.randint(1, 3))}),
        (1, lambda: {"verb": "backfill_cancel", "target": rng.choice(flows)}),
        (1, lambda: {"verb": "backup", "target": rng.choice(ids["vm"]), "argument": rng.choice(ids["repository"])}),
        (2, lambda: {"verb": "disable_flow", "target": rng.choice(flows)}),
        (1, lambda: {"verb": "enable_flow", "target": rng.choice(flows)}),
        (1, lambda: {"verb": "run_missed", "target": rng.choice(flows)}),
        (1, lambda: {"verb": "delete_flow", "target": rng.choice(flows)}),
        (1, lambda: {"verb": "create_flow", "target": rng.choice(("flow-8", "flow-9", *flows)), "argument": flows[0]}),
        (2, lambda: {"verb": "update_flow", "target": rng.choice(flows), "argument": rng.choice(OVERLAPS)}),
        (3, lambda: {"verb": "disable_schedule", "target": rng.choice(schedules)}),
        (1, lambda: {"verb": "enable_schedule", "target": rng.choice(schedules)}),
        (2, lambda: {"verb": "update_schedule", "target": rng.choice(schedules), "argument": str(rng.randint(1, 4))}),
        (1, lambda: {"verb": "delete_schedule", "target": rng.choice(schedules)}),
        (1, lambda: {"verb": "set_freeze", "argument": str(rng.randint(30, 150))}),
        (1, lambda: {"verb": "lift_freeze"}),
        (1, lambda: {"verb": "disable_vm", "target": rng.choice(ids["vm"])}),
        (1, lambda: {"verb": "enable_vm", "target": rng.choice(ids["vm"])}),
        (1, lambda: {"verb": "disable_repository", "target": rng.choice(ids["repository"])}),
        (1, lambda: {"verb": "enable_repository", "target": rng.choice(ids["repository"])}),
    ]
    found: list[Request] = []
    for number in range(rng.choice((0, 2, 4, 4, 6, 10))):
        make = rng.choices([one for _, one in choices], weights=[weight for weight, _ in choices])[0]
        again = rng.choice(((), (), (), (1.0,), (WINDOW + 65.0,), (0.0, 30.0)))
        found.append(
            Request(
                id=f"request-{number}", at=_moment(rng, seconds), again=again, careless=rng.random() < 0.3, **make()
            )
        )
    return tuple(sorted(found, key=lambda one: one.at))


def _moment(rng: random.Random, seconds: float) -> float:
    """Return an instant: often one at which schedules fire, give or take."""
    if rng.random() < 0.5:
        return round(rng.uniform(0.5, seconds * 0.9), 3)
    tick = TICK * rng.randint(1, max(1, int(seconds * 0.9 // TICK)))
    return round(tick + rng.choice((rng.uniform(-0.02, 0.02), rng.uniform(-1, 1), rng.uniform(-6, 2))), 3)


BETWEEN = {"crash", "pause", "cut", "blind", "server_pause", "server_restart"}
APART = {"pause", "cut", "blind"}
DECIDERS = ("registry", "scheduler", "executor", "worker")


class _Faults:
    """Makes what goes wrong with those who take part."""

    def __init__(
        self,
        rng: random.Random,
        targets: list[str],
        definitions: tuple[Message, ...],
        requests: tuple[Request, ...],
        seconds: float,
    ) -> None:
        self._rng = rng
        self._targets = targets
        self._deciders = [target for target in targets if target.startswith(DECIDERS)]
        self._flows = [one.id for one in definitions if isinstance(one, FlowDefined)]
        self._first = len(definitions)
        self._requests = requests
        self._seconds = seconds
        self._makers = self._kinds()

    def _kinds(self) -> list[tuple[int, Callable[[], Fault]]]:
        """Return what makes each kind of fault, and how often it is to be made."""
        rng, anybody, when, stretch, at_publish = self._rng, self._anybody, self._when, self._stretch, self._at_publish

        def within(low: float, high: float) -> float:
            return round(rng.uniform(low, high), 1)

        return [
            (4, lambda: Fault(kind="crash", target=anybody(), at=when())),
            (5, lambda: Fault(kind="pause", target=anybody(), at=when(), seconds=stretch())),
            (3, lambda: Fault(kind="cut", target=anybody(), at=when(), seconds=stretch())),
            (3, lambda: Fault(kind="blind", target=anybody(), at=when(), seconds=stretch())),
            (1, lambda: Fault(kind="loss", target=anybody(), at=when(), seconds=stretch(), argument="0.2")),
            (1, lambda: Fault(kind="skew", target=anybody(), at=when(), seconds=within(-45, 45))),
            (2, lambda: Fault(kind="server_pause", target="server", at=when(), seconds=within(1, 20))),
            (2, lambda: Fault(kind="server_restart", target="server", at=when(), seconds=within(0.2, 6))),
            (1, lambda: Fault(kind="delete_consumer", target=rng.choice(("worker", "registry")), at=when())),
            (3, lambda: Fault(kind="unreadable", target="server", at=when(), argument=self._subject())),
            (1, lambda: Fault(kind="expire", target="server", at=when())),
            (1, lambda: Fault(kind="database", target="recorder-0", at=when(), seconds=stretch())),
            (3, lambda: at_publish("pause_before", stretch())),
            (2, lambda: at_publish("pause_after", stretch())),
            (1, lambda: at_publish("crash_before")),
            (2, lambda: at_publish("crash_after")),
            (4, lambda: at_publish("unanswered")),
            (2, lambda: at_publish("unsent")),
            (4, lambda: at_publish("late", within(4, 12))),
            (1, lambda: at_publish("refused")),
        ]

    def _anybody(self) -> str:
        return self._rng.choice(self._targets)

    def _at_publish(self, kind: FaultKind, seconds: float = 0.0) -> Fault:
        target, op = self._rng.choice(self._deciders), int(self._rng.expovariate(1 / 6))
        return Fault(kind=kind, target=target, op=op, seconds=seconds)

    def _stretch(self) -> float:
        rng = self._rng
        return round(rng.choice((rng.uniform(1, 10), rng.uniform(10, 60), rng.uniform(60, 200))), 1)

    def _when(self) -> float:
        if self._requests and self._rng.random() < 0.3:
            return max(0.1, self._rng.choice(self._requests).at + self._rng.uniform(-10, 3))
        return _moment(self._rng, self._seconds)

    def _subject(self) -> str:
        family = self._rng.choice(
            ("flow.due", "flow.due", "catalog.flow", "flow.started", "flow.completed", "backup.requested")
        )
        return f"{family}.{self._rng.choice(self._flows)}"

    def some(self) -> list[Fault]:
        """Return a fault, and what comes with it."""
        rng = self._rng
        found: list[Fault] = []
        last = rng.choices([one for _, one in self._makers], weights=[weight for weight, _ in self._makers])[0]()
        if last.kind in BETWEEN and rng.random() < 0.5:
            # in the middle of things: between the awaits of those who react to a message
            message, later = self._first + rng.randint(1, 60), round(rng.expovariate(1 / 0.004), 5)
            last = structs.replace(last, message=message, at=later)
        if last.kind in APART and rng.random() < 0.3:
            # a worker that loses touch in more than one way is thought dead, and is not
            last = structs.replace(last, target=rng.choice([one for one in self._targets if one.startswith("worker")]))
            again = structs.replace(last, kind=rng.choice(sorted(APART)), seconds=self._stretch())
            found.append(structs.replace(again, at=round((last.at or 0.0) + rng.choice((0.005, 1.0, 20.0)), 3)))
        found.append(last)
        if last.kind == "unreadable" and rng.random() < 0.7 and last.at is not None:
            # it matters to those who read the log anew
            kind = "registry" if last.argument.startswith("catalog") else "scheduler"
            for target in self._targets:
                if target.startswith(kind):
                    found.append(Fault(kind="crash", target=target, at=last.at + rng.uniform(0.1, 20)))
        if last.kind in {"unanswered", "unsent", "late"} and rng.random() < 0.3:
            found.append(structs.replace(last, op=(last.op or 0) + 1))
        return found


def _faults(
    rng: random.Random,
    targets: list[str],
    definitions: tuple[Message, ...],
    requests: tuple[Request, ...],
    seconds: float,
) -> tuple[Fault, ...]:
    make = _Faults(rng, targets, definitions, requests, seconds)
    return tuple(fault for _ in range(rng.choice((0, 1, 2, 3, 4, 6))) for fault in make.some())
