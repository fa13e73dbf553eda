"""Executions from a terminal: which one is meant, following one to its end, and the exit code that tells it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn

from cli import shown
from cli.client import Api, segment
from cli.failures import CANCELLED, FAILED, NOT_FOUND, OK, UNREACHABLE, WARNING, Failure
from cli.nouns import FLOW, one
from cli.terminal import Part, print_line, print_table, text_of

if TYPE_CHECKING:
    from rich.console import Console

Found = dict[str, Any]

EXIT_CODES = {"success": OK, "warning": WARNING, "error": FAILED, "cancelled": CANCELLED}
_EVERY = 0.5  # seconds between two looks
_BARS = 20  # as many as a terminal has lines for
_PATIENCE = 60.0  # seconds for which an engine that is started again is waited for


def named(api: Api, reference: str) -> Found:
    """Return the execution with this id, or the last one of the flow that is called so. Raises `Failure`."""
    found = _by_id(api, reference)
    if found is not None:
        return found
    flow = _flow(api, reference)
    last = flow["status"]["last_execution_id"]
    if last is None:
        raise Failure(f"flow {flow['name']!r} has never run", NOT_FOUND)
    execution: Found = api.call("GET", f"/executions/{last}")
    return execution


def unfinished(api: Api, reference: str) -> list[Found]:
    """Return the execution with this id, or those of a flow that wait or run. Raises `Failure` when there are none."""
    found = _by_id(api, reference)
    if found is not None:
        return [found]
    flow = _flow(api, reference)
    executions = [
        execution
        for status in ("running", "pending")
        for execution in api.all("/executions", "executions", flow_id=flow["id"], status=status)
    ]
    if not executions:
        raise Failure(f"flow {flow['name']!r} does not run")
    return executions


def _flow(api: Api, reference: str) -> Found:
    try:
        return one(api, FLOW, reference)
    except Failure as error:
        if error.code != NOT_FOUND:
            raise
        raise Failure(f"there is no flow or execution {reference!r}", NOT_FOUND) from error


def _by_id(api: Api, reference: str) -> Found | None:
    try:
        found: Found = api.call("GET", f"/executions/{segment(reference)}")
    except Failure as error:
        if error.code == NOT_FOUND:
            return None
        raise
    return found


def follow(api: Api, execution_id: str, console: Console) -> Found:
    """Wait for the end of an execution, with a bar for each VM on a terminal, and return it."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bars: dict[str, TaskID] = {}
        while True:
            execution = _patiently(api, f"/executions/{execution_id}")
            if console.is_terminal:
                _advance(api, execution, progress, bars)
            if execution["completed_at"]:
                return execution
            time.sleep(_EVERY)


def _advance(api: Api, execution: Found, progress: Progress, bars: dict[str, TaskID]) -> None:
    if "" not in bars:
        bars[""] = progress.add_task(text_of(execution["flow_name"]).plain, total=None)
    ended = sum(execution[f"jobs_{how}"] for how in ("completed", "failed", "skipped"))
    progress.update(bars[""], completed=ended, total=max(execution["jobs_created"], 1))
    for job in api.all(f"/executions/{execution['id']}/jobs", "jobs", most=_BARS):
        if job["id"] not in bars:
            bars[job["id"]] = progress.add_task("", total=100)
        done = 100 if job["status"] == "success" else job["progress_percent"]
        name = text_of(f"  {job['vm_name']}  {job['status']}").plain
        progress.update(bars[job["id"]], completed=done, description=name)


def _patiently(api: Api, path: str) -> Found:
    """Return what is at a path, also when the engine does not respond for a while."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            found: Found = api.call("GET", path)
        except Failure as error:
            if error.code != UNREACHABLE or time.monotonic() > deadline:
                raise
            time.sleep(_EVERY)
        else:
            return found


def print_end(api: Api, execution: Found, console: Console) -> None:
    """Print what became of an execution and of each VM in it."""
    print_jobs(api, execution["id"], console)
    done = f"{execution['jobs_completed']} of {shown.plural(execution['jobs_created'], 'VM')}"
    took = shown.duration(execution["execution_time_seconds"])
    parts: list[Part] = [f"{execution['flow_name']}: ", shown.status(execution["status"])]
    parts.append(f", {done}, {shown.size(execution['bytes_transferred'])} in {took}")
    if execution["error_message"]:
        parts.append(f"; {execution['error_message']}")
    print_line(console, *parts)


def print_jobs(api: Api, execution_id: str, console: Console) -> None:
    """Print the backups of an execution, and the VMs that it left out."""
    jobs = api.all(f"/executions/{execution_id}/jobs", "jobs")
    print_backups(jobs, console)


def print_backups(backups: Any, console: Console) -> None:
    """Print a table of backups."""
    titles = ("VM", "STATUS", "ATTEMPT", "STARTED", "SIZE", "RESULT")
    print_table(console, titles, ([*_backup(found)] for found in backups))


def _backup(found: Found) -> tuple[Part, ...]:
    return (
        found["vm_name"],
        shown.status(found.get("result") or found["status"]),  # `status` may be in the words of other clients
        str(found["attempt"]),
        shown.time(found["started_at"]),
        shown.size(found["bytes_transferred"]),
        found["error_message"] or found["snapshot_ref"] or shown.NOTHING,
    )


def print_executions(executions: Any, console: Console) -> None:
    """Print a table of executions."""
    titles = ("STARTED", "FLOW", "BY", "STATUS", "VMS", "SIZE", "TOOK", "ID", "REASON")
    print_table(console, titles, ([*_execution(found)] for found in executions))


def _execution(found: Found) -> tuple[Part, ...]:
    return (
        shown.time(found["started_at"] or found["created_at"]),
        found["flow_name"],
        "schedule" if found["execution_type"] == "scheduled" else found["triggered_by"],
        shown.status(found["status"]),
        f"{found['jobs_completed']}/{found['jobs_created']}",
        shown.size(found["bytes_transferred"]),
        shown.duration(found["execution_time_seconds"]),
        found["id"],
        found["error_message"] or found["waiting_for"] or "",
    )
