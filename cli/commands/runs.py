"""`flows run`, `retry`, `cancel`, `history`, `backups` and `backfill`: executions and what they made."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from cli import options, shown
from cli.definitions import complete, reference
from cli.failures import OK
from cli.nouns import FLOW, REPOSITORY, VM, id_of, one

if TYPE_CHECKING:
    from cli.client import Api

_ended = click.option("--wait", is_flag=True, help="Wait for its end, and exit with its result.")
_most = click.option("--most", "-n", default=20, show_default=True, type=click.IntRange(1), help="How many at most.")
_execution = click.argument("execution", metavar="FLOW|EXECUTION", shell_complete=complete(FLOW))


@click.command
@reference(FLOW)
@_ended
@options.as_json
@options.api
def run(api: Api, reference: str, wait: bool, as_json: bool) -> None:
    """Run a flow now. With --wait it exits with the result: 0 success, 3 warning, 1 error, 4 cancelled."""
    flow = one(api, FLOW, reference)
    _started(api, api.call("POST", f"{FLOW.path}/{flow['id']}/execute"), wait=wait, as_json=as_json)


@click.command
@_execution
@_ended
@options.as_json
@options.api
def retry(api: Api, execution: str, wait: bool, as_json: bool) -> None:
    """Run again what failed, or never started. Of a flow: in its last execution."""
    from cli import executions

    found = executions.named(api, execution)
    _started(api, api.call("POST", f"/executions/{found['id']}/retry"), wait=wait, as_json=as_json)


def _started(api: Api, started: dict[str, Any], *, wait: bool, as_json: bool) -> None:
    """Tell that an execution was started, or wait for its end and exit with its result."""
    from cli import executions, terminal

    if not as_json:
        text = f"{started['flow_name']}: {started['message']}, execution {started['execution_id']}"
        terminal.print_line(terminal.out, text)
    elif not wait:
        terminal.print_json(terminal.out, started)
    if not wait:
        return
    try:
        ended = executions.follow(api, started["execution_id"], terminal.err)
    except KeyboardInterrupt:
        text = f"it goes on; `flows cancel {started['execution_id']}` stops it"
        terminal.print_line(terminal.err, text)
        raise
    if as_json:
        terminal.print_json(terminal.out, ended)
    else:
        executions.print_end(api, ended, terminal.out)
    if code := executions.EXIT_CODES.get(ended["status"], OK):
        sys.exit(code)


@click.command
@_execution
@click.option("--vm", help="This VM alone, by name or id.", shell_complete=complete(VM))
@options.api
def cancel(api: Api, execution: str, vm: str | None) -> None:
    """Stop an execution, or all those of a flow that wait or run."""
    from cli import executions, terminal

    body = {"context_id": id_of(api, VM, vm)} if vm is not None else {}
    for found in executions.unfinished(api, execution):
        api.call("POST", f"/executions/{found['id']}/cancel", json=body)
        what = f"VM {vm!r} of execution" if vm is not None else "execution"
        terminal.print_line(terminal.out, f"cancelling {what} {found['id']} of {found['flow_name']!r}")


@click.command
@reference(FLOW, required=False)
@click.option("--status", type=click.Choice(["pending", "running", "success", "warning", "error", "cancelled"]))
@click.option("--since", type=options.PastTime(), help="That began then or later; or how long ago: 30m, 12h, 7d.")
@click.option("--until", type=options.PastTime(), help="That began before.")
@_most
@options.as_json
@options.api
def history(
    api: Api,
    reference: str | None,
    status: str | None,
    since: datetime | None,
    until: datetime | None,
    most: int,
    as_json: bool,
) -> None:
    """List executions, newest first. Of a flow, or of all."""
    from cli import executions, terminal

    given = {
        "flow_id": None if reference is None else id_of(api, FLOW, reference),
        "status": status,
        "from": since and since.isoformat(),
        "to": until and until.isoformat(),
    }
    query = {name: value for name, value in given.items() if value is not None}
    found = api.all("/executions", "executions", most=most, **query)
    if as_json:
        terminal.print_json(terminal.out, *found)
    else:
        executions.print_executions(found, terminal.out)


@click.command
@click.option("--execution", help="Of this execution; or of a flow's last one, by its name or id.")
@click.option("--vm", help="Of this VM, by name or id.", shell_complete=complete(VM))
@click.option("--repository", help="In this repository, by name or id.", shell_complete=complete(REPOSITORY))
@click.option(
    "--status", type=click.Choice(["pending", "queued", "running", "success", "error", "cancelled", "skipped"])
)
@_most
@options.as_json
@options.api
def backups(
    api: Api,
    execution: str | None,
    vm: str | None,
    repository: str | None,
    status: str | None,
    most: int,
    as_json: bool,
) -> None:
    """List backups, newest first. Each is of one VM in one execution."""
    from cli import executions, terminal

    if execution is not None:
        if vm is not None or repository is not None or status is not None:
            raise click.UsageError("--execution stands alone")
        found = api.all(f"/executions/{executions.named(api, execution)['id']}/jobs", "jobs", most=most)
    else:
        given = {
            "context_id": None if vm is None else id_of(api, VM, vm),
            "repository_id": None if repository is None else id_of(api, REPOSITORY, repository),
            "status": status,
        }
        query = {name: value for name, value in given.items() if value is not None}
        found = api.all("/backups", "backups", most=most, **query)
    if as_json:
        terminal.print_json(terminal.out, *found)
    else:
        executions.print_backups(found, terminal.out)


@click.command
@reference(FLOW)
@click.option("--from", "since", type=options.PastTime(), help="From then on, or how long ago: 12h, 7d.")
@click.option("--to", "until", type=options.PastTime(), help="Up to then.  [default: now]")
@click.option(
    "--mode",
    type=click.Choice(["missing", "failed", "all"]),
    default="missing",
    show_default=True,
    help="Those never executed, those that failed or were cancelled, or all.",
)
@click.option("--max-concurrent", type=click.IntRange(1, 100), default=1, show_default=True, help="How many at a time.")
@click.option("--dry-run", is_flag=True, help="Only show which.")
@click.option("--cancel", "cancelled", metavar="BACKFILL", help="Stop this backfill instead.")
@options.as_json
@options.api
def backfill(
    api: Api,
    reference: str,
    since: datetime | None,
    until: datetime | None,
    mode: str,
    max_concurrent: int,
    dry_run: bool,
    cancelled: str | None,
    as_json: bool,
) -> None:
    """Execute past occurrences of a flow's schedule now."""
    from cli import terminal
    from cli.client import segment

    path = f"{FLOW.path}/{id_of(api, FLOW, reference)}/backfill"
    if cancelled is not None:
        found = api.call("POST", f"{path}/{segment(cancelled)}/cancel")
        text = f"cancelled backfill {cancelled} of {reference!r}: {shown.plural(found['total'], 'execution')} of it"
        _told(found, text, as_json=as_json)
        return
    if since is None:
        raise click.UsageError("--from is missing: when the range begins, such as 7d")
    body = {"mode": mode, "dry_run": dry_run, "max_concurrent": max_concurrent, "from": since.isoformat()}
    found = api.call("POST", path, json={**body, "to": (until or options.now()).isoformat()})
    text = f"{reference}: {found['message']}" + (f", backfill {found['backfill_id']}" if found["backfill_id"] else "")
    _told(found, text, as_json=as_json)
    if not as_json:
        for occurrence in found["occurrences"]:
            terminal.print_line(terminal.out, f"  {shown.time(occurrence)}")


def _told(found: dict[str, Any], text: str, *, as_json: bool) -> None:
    from cli import terminal

    if as_json:
        terminal.print_json(terminal.out, found)
    else:
        terminal.print_line(terminal.out, text)
