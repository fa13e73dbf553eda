"""The pages that are looked at: in both looks and sizes, empty and with what tests/page/seed.py makes.

A new page gets a line here. `make screenshots` writes them, and tests look for what is in anybody's way on them.
"""

from __future__ import annotations

from schemas.base import Value


class Place(Value, frozen=True, kw_only=True):
    """An address of the page. `seeded`: the address when there is something to show, where that is another one."""

    name: str
    path: str
    seeded: str | None = None


PLACES = (
    Place(name="overview", path="/"),
    Place(name="timeline", path="/timeline"),
    Place(name="executions", path="/executions"),
    Place(name="flows", path="/flows"),
    Place(name="vms", path="/vms"),
    Place(name="groups", path="/groups"),
    Place(name="backups", path="/backups"),
    Place(name="schedules", path="/schedules"),
    Place(name="repositories", path="/repositories"),
    Place(name="policies", path="/policies"),
    Place(name="notifications", path="/notifications"),
    Place(name="workers", path="/workers"),
    Place(name="log", path="/log"),
    Place(name="audit", path="/audit"),
    Place(name="tokens", path="/tokens"),
    Place(name="settings", path="/settings"),
)
