"""`flows schedule`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli import shown
from cli.definitions import Found, Kind
from cli.nouns import SCHEDULE

if TYPE_CHECKING:
    from cli.client import Api


def _next_runs(api: Api, found: Found) -> Found:
    runs = api.call("GET", f"{SCHEDULE.path}/{found['id']}/preview", params={"count": 5})["next_runs"]
    return {"next_runs": [f"{one['local']} ({one['note']})" if one["note"] else one["local"] for one in runs]}


schedule = Kind(
    SCHEDULE,
    (
        ("STATUS", lambda found: shown.switch(found["enabled"])),
        ("CRON", lambda found: ", ".join([found["cron_expression"], *found["more_expressions"]])),
        ("TIME ZONE", lambda found: found["timezone"]),
        ("CATCH-UP", lambda found: found["catch_up"]),
        ("DESCRIPTION", lambda found: found["description"]),
    ),
    also=_next_runs,
).group()
