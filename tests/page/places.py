"""The pages that are looked at: in both looks and sizes, before there is anything to show, and with a world of data.

A new page gets a line here. `make screenshots` writes all of them, and tests look for what keeps somebody from them.
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.base import Value


class Place(Value, frozen=True, kw_only=True):
    """An address of the page, in which `{execution}` and the like are ids of what is in the world of data.

    `empty`: whether it is there without one, too. `signed_in`: whether one has to be.
    """

    name: str
    path: str
    empty: bool = True
    signed_in: bool = True

    def at(self, ids: Mapping[str, str]) -> str:
        return self.path.format_map(ids)


PLACES = (
    Place(name="login", path="/login", signed_in=False),
    Place(name="overview", path="/"),
    Place(name="timeline", path="/timeline"),
    Place(name="timeline-by-site", path="/timeline?group=label:site", empty=False),
    Place(name="executions", path="/executions"),
    Place(name="execution", path="/executions/{execution}", empty=False),
    Place(name="flows", path="/flows"),
    Place(name="flows-by-site", path="/flows?group=site", empty=False),
    Place(name="flows-found", path="/flows?q=000", empty=False),
    Place(name="flow", path="/flows/{flow}", empty=False),
    Place(name="new-flow", path="/flows?new=1"),
    Place(name="vms", path="/vms"),
    Place(name="vms-by-site", path="/vms?by=site", empty=False),
    Place(name="vm", path="/vms/{vm}", empty=False),
    Place(name="groups", path="/groups"),
    Place(name="group", path="/groups/{group}", empty=False),
    Place(name="backups", path="/backups"),
    Place(name="schedules", path="/schedules"),
    Place(name="new-schedule", path="/schedules?new=1"),
    Place(name="repositories", path="/repositories"),
    Place(name="repository", path="/repositories/{repository}", empty=False),
    Place(name="policies", path="/policies"),
    Place(name="notifications", path="/notifications"),
    Place(name="workers", path="/workers"),
    Place(name="log", path="/log"),
    Place(name="audit", path="/audit"),
    Place(name="tokens", path="/tokens"),
    Place(name="settings", path="/settings"),
)
EMPTY = tuple(one for one in PLACES if one.empty)
