"""Health: what the services' heartbeats say about them. Pure.

Every process publishes a heartbeat for its service, beside the log, every few seconds. Ages are by the server's clock
alone. A service may have several instances: it is as well as the best of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

import msgspec

from schemas.base import Value

if TYPE_CHECKING:  # the client of NATS comes with it, and supervisors that live as long as the engine need none
    from bus.checkpoint import Status

PREFIX = "service."
NEEDED = ("setup", "registry", "scheduler", "executor", "worker", "recorder")
SILENCE = timedelta(seconds=15)  # without a heartbeat, until an instance counts as hung
GONE = timedelta(seconds=60)  # … and until it counts as gone
RESTARTS = 2  # within WINDOW, from which on an instance counts as restarting
WINDOW = timedelta(minutes=10)
MOST_LAG = 1000  # messages that a service may be behind what it reads, when that does not shrink
STALLED = 30.0  # seconds without an advance although there is something to read

State = Literal["running", "behind", "restarting", "hung", "gone"]
STATES: tuple[State, ...] = ("running", "behind", "restarting", "hung", "gone")  # from the best to the worst

DEAD: tuple[State, ...] = ("hung", "gone")


class Heartbeat(Value, frozen=True, kw_only=True):
    """One process's sign of life for one service.

    `position`: the last sequence that it has read, None until it has started. `lag`: how many sequences what it reads
    goes on after that, `earlier_lag`: the same half a minute before. `stalled`: seconds for which it has not advanced
    although there was something to read. `restarts`: in the ten minutes before `started_at`.
    """

    service: str
    instance: str
    host: str
    pid: int
    version: str
    started_at: datetime
    restarts: int = 0
    position: int | None = None
    lag: int = 0
    earlier_lag: int = 0
    stalled: float = 0.0


class Instance(Value, frozen=True, kw_only=True):
    """How one instance of a service is. `text` tells people, and is empty when all is well."""

    state: State
    text: str
    heartbeat: Heartbeat


class Health(Value, frozen=True, kw_only=True):
    """How a service is: as its best instance. `instances`: all that have not been gone for long, the best first."""

    service: str
    state: State
    text: str
    instances: tuple[Instance, ...] = ()

    @property
    def restarts(self) -> int:
        """How often its instances were restarted within ten minutes."""
        return sum(one.heartbeat.restarts for one in self.instances if one.state != "gone")


def key_of(service: str, instance: str = "") -> str:
    """Return the key of an instance's heartbeat, or the prefix of all keys of a service."""
    return f"{PREFIX}{service}." + re.sub(r"[^-\w.]", "_", instance, flags=re.ASCII)


def assess(statuses: Mapping[str, Status], now: datetime) -> dict[str, Health]:
    """Return how each service is, those that are needed first. A service that nobody needs is there if it was seen."""
    found: dict[str, list[Instance]] = {name: [] for name in NEEDED}
    for status in statuses.values():
        try:
            heartbeat = msgspec.convert(status.value, Heartbeat)
        except msgspec.ValidationError:
            continue  # of another version
        found.setdefault(heartbeat.service, []).append(_instance(heartbeat, now - status.at, now))
    return {service: _health(service, instances) for service, instances in found.items()}


def expired(statuses: Mapping[str, Status], *, now: datetime, keep: float) -> list[str]:
    """Return the keys of what nobody has renewed for `keep` seconds."""
    return [key for key, status in statuses.items() if (now - status.at).total_seconds() > keep]


def _health(service: str, instances: Iterable[Instance]) -> Health:
    ranked = tuple(sorted(instances, key=lambda one: (STATES.index(one.state), one.heartbeat.instance)))
    if not ranked:
        return Health(service=service, state="gone", text="gone: no process of it has been seen")
    return Health(service=service, state=ranked[0].state, text=ranked[0].text, instances=ranked)


def _instance(heartbeat: Heartbeat, silent: timedelta, now: datetime) -> Instance:
    """Return how an instance is that was last heard so long ago."""
    who = f"process {heartbeat.pid} on {heartbeat.host}"
    seconds = f"{silent.total_seconds():.0f} s"
    state: State
    if silent > GONE:
        state, text = "gone", f"gone: {who} was last heard {seconds} ago"
    elif heartbeat.restarts >= RESTARTS and now - heartbeat.started_at < WINDOW:
        state, text = "restarting", f"restarting: it was started {heartbeat.restarts} times again within ten minutes"
    elif silent > SILENCE:
        state, text = "hung", f"hung: {who} has not been heard for {seconds}"
    elif heartbeat.position is None:
        state, text = "behind", f"behind: {who} is starting, and has not read the log yet"
    elif heartbeat.stalled >= STALLED:
        state = "behind"
        text = f"behind: {who} has been at message {heartbeat.position:,} for {heartbeat.stalled:.0f} s"
        text += f", {heartbeat.lag:,} messages before the end"
    elif heartbeat.lag > MOST_LAG and heartbeat.lag >= heartbeat.earlier_lag:
        state, text = "behind", f"behind: {who} is {heartbeat.lag:,} messages behind the log, and that does not shrink"
    else:
        state, text = "running", ""
    return Instance(state=state, text=text, heartbeat=heartbeat)
