"""`flows list`, `show`, `add`, `set`, `enable`, `disable` and `delete`: protection flows themselves."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from cli import options, shown
from cli.definitions import Found, Kind, complete, reference
from cli.nouns import FLOW, GROUP, VM, Noun, id_of, one

if TYPE_CHECKING:
    from cli.client import Api


def _targets(command: Callable[..., None]) -> Callable[..., None]:
    for noun in (GROUP, VM):
        about = f"What it protects: a {noun.word}, by name or id."
        command = click.option(f"--{noun.name}", noun.name, help=about, shell_complete=complete(noun))(command)
    return command


def _prepare(api: Api, given: Found) -> None:
    """Turn the VM or group that was named into the flow's target."""
    named: list[tuple[Noun, str]] = [(noun, name) for noun in (VM, GROUP) if (name := given.pop(noun.name)) is not None]
    if len(named) > 1:
        raise click.UsageError("a flow protects a VM or a group: name one of them")
    for noun, name in named:
        given |= {"target_type": noun.name, "target_id": id_of(api, noun, name)}


def _prepare_new(api: Api, given: Found) -> None:
    _prepare(api, given)
    if "target_id" not in given:
        raise click.UsageError("name what it protects, with --vm or --group")
    given["flow_type"] = given["flow_type"] or "backup"


_KIND = Kind(
    FLOW,
    (
        ("STATUS", lambda found: shown.switch(found["enabled"])),
        ("PROTECTS", lambda found: f"{found['target_type']} {found['target_name'] or found['target_id']}"),
        ("SCHEDULE", lambda found: found["schedule_name"] or shown.NOTHING),
        ("LAST RUN", lambda found: shown.time(found["status"]["last_execution_time"])),
        ("ENDED", lambda found: shown.status(found["status"]["last_execution_status"])),
        ("NEXT RUN", lambda found: shown.time(found["status"]["next_execution_time"])),
    ),
    but=("target_type", "target_id"),
    optional=("flow_type",),
    more=_targets,
    prepare=_prepare,
    prepare_new=_prepare_new,
)
add, list_, show, set_ = _KIND.add(), _KIND.list(), _KIND.show(), _KIND.set()


@click.command
@reference(FLOW, nargs=-1)
@click.option("--run-missed", is_flag=True, help="Run what it missed while it was disabled, as its catch-up says.")
@options.api
def enable(api: Api, references: tuple[str, ...], run_missed: bool) -> None:
    """Let flows run by their schedules."""
    _switch(api, references, "enable", {"run_missed": "true"} if run_missed else {})


@click.command
@reference(FLOW, nargs=-1)
@options.api
def disable(api: Api, references: tuple[str, ...]) -> None:
    """Let flows not run by their schedules, until they are enabled."""
    _switch(api, references, "disable", {})


def _switch(api: Api, references: tuple[str, ...], verb: str, query: dict[str, Any]) -> None:
    from cli import terminal

    for found in [one(api, FLOW, name) for name in references]:
        now = api.call("PATCH", f"{FLOW.path}/{found['id']}/{verb}", params=query)
        following = now["status"]["next_execution_time"]
        why = now["status"]["next_execution_reason"]
        then = f"next run {shown.time(following)}" if following else f"no next run: {why}"
        terminal.print_line(terminal.out, f"{verb}d flow {found['name']!r}; {then}")


@click.command
@reference(FLOW, nargs=-1)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Also while it runs: that is cancelled first.")
@options.api
def delete(api: Api, references: tuple[str, ...], yes: bool, force: bool) -> None:
    """Delete flows and their history. Their backups stay."""
    from cli import terminal

    found = [one(api, FLOW, name) for name in references]
    names = ", ".join(repr(flow["name"]) for flow in found)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("nobody is here to be asked: say --yes")
        click.confirm(f"Delete {names} and the history of it?", abort=True)
    for flow in found:
        api.call("DELETE", f"{FLOW.path}/{flow['id']}", params={"force": "true"} if force else {})
        terminal.print_line(terminal.out, f"deleted flow {flow['name']!r}")
