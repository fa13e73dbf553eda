"""The command line: `flows …`. It lists the commands; each is in cli/commands/, and is imported when it is called."""

from __future__ import annotations

import sys

import click

from cli import failures, logs, privacy
from cli.lazy import LazyGroup

COMMANDS = {
    "up": ("cli.commands.up:up", "Run everything on this machine: log, services, API."),
    "list": ("cli.commands.flows:list_", "List flows."),
    "show": ("cli.commands.flows:show", "Print all of a flow."),
    "status": ("cli.commands.now:status", "Say how the engine is, or one flow."),
    "next": ("cli.commands.now:next_", "Print when a flow runs next, or which flows run in the coming week."),
    "run": ("cli.commands.runs:run", "Run a flow now."),
    "cancel": ("cli.commands.runs:cancel", "Stop an execution, or all those of a flow that wait or run."),
    "retry": ("cli.commands.runs:retry", "Run again what failed, or never started."),
    "add": ("cli.commands.flows:add", "Create a flow."),
    "set": ("cli.commands.flows:set_", "Change a flow."),
    "enable": ("cli.commands.flows:enable", "Let flows run by their schedules."),
    "disable": ("cli.commands.flows:disable", "Let flows not run by their schedules, until they are enabled."),
    "delete": ("cli.commands.flows:delete", "Delete flows and their history. Their backups stay."),
    "history": ("cli.commands.runs:history", "List executions, newest first."),
    "watch": ("cli.commands.now:watch", "Show what goes on, live, until Ctrl+C."),
    "vm": ("cli.commands.vm:vm", "Add, list, show, change and delete VMs."),
    "group": ("cli.commands.group:group", "Add, list, show, change and delete groups."),
    "schedule": ("cli.commands.schedule:schedule", "Add, list, show, change and delete schedules."),
    "repository": ("cli.commands.repository:repository", "Add, list, show, change and delete repositories."),
    "policy": ("cli.commands.policy:policy", "Add, list, show, change and delete policies."),
    "notification": ("cli.commands.notification:notification", "Say who is told of what, and try it."),
    "token": ("cli.commands.token:token", "Create, list and revoke tokens of the API."),
    "worker": ("cli.commands.worker:worker", "Enrol workers on other machines, and revoke them."),
    "backups": ("cli.commands.runs:backups", "List backups, newest first."),
    "queue": ("cli.commands.now:queue", "Print which backups wait, and for what, and which run."),
    "workers": ("cli.commands.now:workers", "Print which workers are there, and which are enrolled or may be."),
    "backfill": ("cli.commands.runs:backfill", "Execute past occurrences of a flow's schedule now."),
    "calendar": ("cli.commands.now:calendar", "Print what runs when, over all flows."),
    "context": ("cli.commands.context:context", "Remember engines, to talk to them."),
    "completion": ("cli.commands.completion:completion", "Print what completes commands and names in a shell."),
    "serve": ("cli.commands.serve:serve", "Run one or more services against FLOWS_NATS_URL and FLOWS_DATABASE_URL."),
    "log": ("cli.commands.log:log", "Print the log."),
    "why": ("cli.commands.why:why", "Say in plain words why a flow ran, or did not."),
    "explain": ("cli.commands.why:why", "Say in plain words why a flow ran, or did not."),
    "doctor": ("cli.commands.doctor:doctor", "Check that what should hold true does."),
    "repair": ("cli.commands.repair:repair", "Show the safe remedies for what `flows doctor` finds, or apply them."),
    "dead": ("cli.commands.dead:dead", "Look after messages that could not be used."),
    "export": ("cli.commands.definitions:export", "Print all definitions as YAML, for `flows apply`."),
    "apply": ("cli.commands.definitions:apply", "Make the definitions what a YAML file says."),
    "freeze": ("cli.commands.freeze:freeze", "Let nothing start by its schedule for a while."),
    "thaw": ("cli.commands.freeze:thaw", "End the freeze now."),
    "settings": ("cli.commands.settings:settings", "Show the settings of the whole engine, or change them."),
    "replay": ("cli.commands.replay:replay", "Decide again what was decided, with today's code, and compare."),
    "rebuild": ("cli.commands.history:rebuild", "Fill an empty database from the log."),
    "diff": ("cli.commands.history:diff", "Compare two databases."),
    "restore-log": ("cli.commands.history:restore_log", "Fill an empty log from the second copy in a database."),
    "nats-config": ("cli.commands.nats_config:nats_config", "Write the configuration and passwords of nats-server"),
    "prune": ("cli.commands.history:prune", "Let go of the history of executions that ended longer ago."),
    "db": ("cli.commands.db:db", "Look after the tables of the read model."),
}


@click.group(cls=LazyGroup, table=COMMANDS, epilog=failures.EXIT_CODES)
@click.version_option(package_name="protection-flows-engine", prog_name="flows")
def cli() -> None:
    """Protection Flows Engine: what to back up, when, where to and how."""


def main() -> None:
    """Run a command, and exit with its code."""
    privacy.keep_private()
    logs.of_commands()
    sys.exit(failures.run(cli))


if __name__ == "__main__":
    main()
