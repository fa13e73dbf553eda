"""The checks of the services: does each live and advance? They read what the services publish beside the log."""

from __future__ import annotations

from collections.abc import Iterator

from bus.log import Log
from cli.doctor.findings import Finding, failed
from services.health import PREFIX, Health, Instance, assess

ADVICE = {
    "behind": "is it overloaded? Its log says what holds it up",
    "restarting": "the last lines of its log say why it ends",
    "hung": "kill that process and start it again; `flows up` does both within half a minute",
    "gone": "start it with `flows serve`, or all with `flows up`",
}


async def services(log: Log) -> list[Finding]:
    """Return how each service is. Raises `Unavailable`."""
    found = assess(await log.statuses(PREFIX), await log.time())
    return [finding for one in found.values() for finding in _findings(one)]


def _findings(health: Health) -> Iterator[Finding]:
    alive = [one for one in health.instances if one.state == "running"]
    if health.state == "running":
        yield Finding(level="ok", text=f"the {health.service} is running: {_counted(alive)}")
    else:
        yield failed(f"the {health.service} is {health.text}: {ADVICE[health.state]}")
    for one in health.instances[1:]:
        if one.state not in {"running", "gone"}:
            yield Finding(level="note", text=f"one more {health.service} is {one.text}: {ADVICE[one.state]}")


def _counted(instances: list[Instance]) -> str:
    """Return what is worth knowing of instances that are well."""
    restarts = sum(one.heartbeat.restarts for one in instances)
    again = f", started again {restarts} times within ten minutes" if restarts else ""
    position = max(one.heartbeat.position or 0 for one in instances)
    count = "one process" if len(instances) == 1 else f"{len(instances)} processes"
    return f"{count}, at message {position:,}{again}"
