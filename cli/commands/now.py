"""`flows status`, `next`, `calendar`, `queue`, `workers` and `watch`: how things are now, and what comes."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from cli import options, shown
from cli.definitions import print_fields, reference
from cli.failures import FAILED
from cli.nouns import FLOW, VM, id_of, one

if TYPE_CHECKING:
    from cli.client import Api
    from cli.terminal import Part


@click.command
@reference(FLOW, required=False)
@options.as_json
@options.api
def status(api: Api, reference: str | None, as_json: bool) -> None:
    """Say how the engine is, or one flow. Of the engine it exits with 1 when something does not work."""
    from cli import executions, terminal

    if reference is None:
        _engine(api, as_json=as_json)
        return
    flow = one(api, FLOW, reference)
    if as_json:
        terminal.print_json(terminal.out, api.call("GET", f"{FLOW.path}/{flow['id']}/status"))
        return
    print_fields({"name": flow["name"], "enabled": flow["enabled"], "status": flow["status"]}, as_json=False)
    if recent := [*api.all("/executions", "executions", most=5, flow_id=flow["id"])]:
        executions.print_executions(recent, terminal.out)


def _engine(api: Api, *, as_json: bool) -> None:
    from cli import terminal

    ready = api.ready()
    summary = api.call("GET", f"{FLOW.path}/summary")
    well = ready["status"] == "ok"
    if as_json:
        terminal.print_json(terminal.out, {**ready, "url": api.url, "summary": summary})
    else:
        wrong = [f"{name}: {how}" for part in ("parts", "services") for name, how in ready[part].items()]
        wrong = [one for one in wrong if not one.endswith((": ok", ": running"))]
        terminal.print_line(terminal.out, "engine      ", api.url)
        how = (ready["status"], "green" if well else "red")
        terminal.print_line(terminal.out, "status      ", how, "".join(f"; {one}" for one in wrong))
        flows = f"{summary['enabled_flows']} enabled, {summary['disabled_flows']} disabled"
        terminal.print_line(terminal.out, f"flows       {flows}")
        good, bad = summary["successful_executions_today"], summary["failed_executions_today"]
        today = f"{summary['total_executions_today']}: {good} successful, {bad} failed"
        terminal.print_line(terminal.out, f"runs today  {today}")
    if not well:
        sys.exit(FAILED)


@click.command("next")
@reference(FLOW, required=False)
@options.as_json
@options.api
def next_(api: Api, reference: str | None, as_json: bool) -> None:
    """Print when a flow runs next, or which flows run in the coming week."""
    from cli import terminal

    if reference is None:
        _calendar(api, {}, as_json=as_json)
        return
    flow = one(api, FLOW, reference)
    runs = api.call("GET", f"{FLOW.path}/{flow['id']}/status")["next_runs"]
    if as_json:
        terminal.print_json(terminal.out, *({"flow_id": flow["id"], "at": at} for at in runs))
    elif not runs:
        terminal.print_line(terminal.out, f"no next run: {flow['status']['next_execution_reason']}")
    else:
        terminal.print_table(terminal.out, ("UTC", "HERE"), ((shown.time(at), _here(at)) for at in runs))


@click.command
@click.option("--from", "since", type=options.Time(), help="From then on.  [default: now]")
@click.option("--to", "until", type=options.Time(), help="Up to then.  [default: a week later]")
@options.as_json
@options.api
def calendar(api: Api, since: datetime | None, until: datetime | None, as_json: bool) -> None:
    """Print what runs when, over all flows."""
    given = {"from": since and since.isoformat(), "to": until and until.isoformat()}
    _calendar(api, {name: value for name, value in given.items() if value is not None}, as_json=as_json)


def _calendar(api: Api, query: dict[str, str], *, as_json: bool) -> None:
    from cli import terminal

    found = api.call("GET", "/calendar", params=query)
    if as_json:
        terminal.print_json(terminal.out, found)
        return
    if frozen := found["freeze"]:
        text = f"no scheduled start until {shown.time(frozen['until'])}: {frozen['reason']}"
        terminal.print_line(terminal.out, (text, "yellow"))
    rows = ([*_planned(entry)] for entry in found["entries"])
    terminal.print_table(terminal.out, ("UTC", "HERE", "FLOW", "STATUS", "TAKES ABOUT", "REASON"), rows)
    if not found["complete"]:
        terminal.print_line(terminal.out, "and more: shorten the range to see all of it")


def _planned(entry: dict[str, Any]) -> tuple[Part, ...]:
    at = entry["fires_at"] or entry["occurrence"]
    became = shown.status(entry["status"] or entry["outcome"])
    takes, reason = shown.duration(entry["expected_seconds"]), entry["reason"] or ""
    return shown.time(at), _here(at), entry["flow_name"], became, takes, reason


def _here(at: str) -> str:
    """Return an instant in this machine's zone."""
    return f"{datetime.fromisoformat(at).astimezone():%a %Y-%m-%d %H:%M:%S %Z}"


@click.command
@options.as_json
@options.api
def queue(api: Api, as_json: bool) -> None:
    """Print which backups wait, and for what, and which run."""
    from cli import terminal

    found = api.call("GET", "/queue")
    if as_json:
        terminal.print_json(terminal.out, found)
        return
    waiting = [*found["pending"], *found["waiting"]]  # executions that wait for their turn, and backups
    rows = [*_rows(api, found["running"]), *_rows(api, waiting)]
    if not rows:
        terminal.print_line(terminal.out, "nothing waits, and nothing runs")
        return
    terminal.print_table(terminal.out, ("VM", "FLOW", "STATUS", "SINCE", "WAITS FOR"), rows)


def _rows(api: Api, backups: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    if not backups:
        return []
    vms = {found["context_id"]: found["vm_name"] for found in api.all(VM.path, VM.key)}
    flows = {found["id"]: found["name"] for found in api.all(FLOW.path, FLOW.key)}
    return [
        (
            vms.get(one["context_id"], one["context_id"]) if "context_id" in one else shown.NOTHING,
            flows.get(one["flow_id"], shown.NOTHING),
            shown.status("waiting" if "waiting_for" in one else one["status"]),
            shown.time(one["since"]),
            one.get("waiting_for") or shown.NOTHING,
        )
        for one in backups
    ]


@click.command
@options.as_json
@options.api
def workers(api: Api, as_json: bool) -> None:
    """Print which workers are there, and which are enrolled or may be.

    Of each that is there: its labels, engines and slots, and how it is.
    """
    from cli import terminal

    said = api.call("GET", "/workers")
    found, enrolments = said["workers"], said["enrolments"]
    if as_json:
        terminal.print_json(terminal.out, *found)
    elif not found:
        terminal.print_line(terminal.out, "no worker is there: start one with `flows serve worker`")
    else:
        titles = ("NAME", "STATE", "LABELS", "ENGINES", "SLOTS", "FREE", "HOLDS", "LAST SEEN", "VERSION")
        terminal.print_table(terminal.out, titles, (_worker(one) for one in found))
    if enrolments and not as_json:
        terminal.print_line(terminal.out, "")
        titles = ("ENROLLED AS", "STATUS", "THERE", "LABELS", "CREATED BY", "ENROLLED", "TOKEN EXPIRES", "REVOKED BY")
        terminal.print_table(terminal.out, titles, (_enrolment(one) for one in enrolments))


def _enrolment(one: dict[str, Any]) -> tuple[Part, ...]:
    colour = {"enrolled": "green", "revoked": "red"}.get(one["status"], "yellow")
    enrolled_at = one["enrolled_at"]
    return (
        one["name"],
        (one["status"], colour),
        "yes" if one["present"] else "no",
        _labels(one["labels"]),
        one["created_by"],
        shown.time(enrolled_at) if enrolled_at else shown.NOTHING,
        shown.NOTHING if enrolled_at else shown.time(one["expires_at"]),
        one["revoked_by"] or shown.NOTHING,
    )


def _labels(labels: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items())) or shown.NOTHING


def _worker(one: dict[str, Any]) -> tuple[Part, ...]:
    state = (one["state"], "green" if one["state"] == "running" else "yellow")
    slots = (str(one[name]) for name in ("slots", "free", "holding"))
    seen, version = shown.time(one["last_seen_at"]), one["version"] or shown.NOTHING
    return one["name"], state, _labels(one["labels"]), ", ".join(one["engines"]), *slots, seen, version


@click.command
@reference(FLOW, required=False)
@click.option("--events", is_flag=True, help="Each event as a line: so it is when this is no terminal.")
@options.as_json
@options.api
def watch(api: Api, reference: str | None, events: bool, as_json: bool) -> None:
    """Show what goes on, live, until Ctrl+C. In a flow, or in all."""
    from cli import terminal
    from cli import watch as watching

    flow_id = None if reference is None else id_of(api, FLOW, reference)
    if as_json or events or not terminal.out.is_terminal:
        watching.events(api, flow_id, terminal.out, as_json=as_json)
    else:
        watching.watch(api, flow_id, terminal.out)
