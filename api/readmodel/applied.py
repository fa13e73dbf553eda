"""What of a definition is accepted and kept, and has no effect (yet); where it is shown, this is said. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.responses.applied import NotApplied
from services.worker.engines.registration import ENGINES

RETENTION = ("keep_last", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly")
NO_RETENTION = "retention is not applied yet: every backup is kept until somebody removes it"
_OF_GROUPS = {
    "schedule_id": "a group is run by the schedules of its flows, not by one of its own",
    "max_concurrent_vms": "how many VMs are backed up at once is limited by the flow's `max_concurrent_jobs`",
    "priority": "who goes first is decided by the flow's `priority`, and within a group by the members' own",
}


def full_copies_only(engine: str | None = None) -> str | None:
    """Return why an engine, or any that there is, makes no incremental backups; None when it makes them."""
    engines = [engine] if engine in ENGINES else list(ENGINES)
    if any(ENGINES[one].rules.incremental for one in engines):
        return None
    names = " and ".join(engines)
    return f"the engine{'s' if len(engines) > 1 else ''} {names} make{'' if len(engines) > 1 else 's'} full copies only"


def of_policy(row: Mapping[str, Any]) -> list[NotApplied]:
    """Return what of a policy is not applied."""
    found = [NotApplied(field=name, reason=NO_RETENTION) for name in RETENTION if row[name] is not None]
    if row["backup_type"] == "incremental" and (reason := full_copies_only()):
        found.append(NotApplied(field="backup_type", reason=f"every backup is a full one: {reason}"))
    return found


def of_group(row: Mapping[str, Any]) -> list[NotApplied]:
    """Return what of a group is not applied."""
    return [NotApplied(field=name, reason=reason) for name, reason in _OF_GROUPS.items() if row[name]]
