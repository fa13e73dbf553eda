"""The command line: `flows …`. It lists the commands; each is in cli/commands/, and is imported when it is called."""

from __future__ import annotations

import sys

import click

from cli import failures, logs, privacy
from cli.lazy import LazyGroup

COMMANDS = {
    "up": ("cli.commands.up:up", "Run everything on this machine: log, services, API."),
    "serve": ("cli.commands.serve:serve", "Run one or more services against FLOWS_NATS_URL and FLOWS_DATABASE_URL."),
    "log": ("cli.commands.log:log", "Print the log."),
    "why": ("cli.commands.why:why", "Say in plain words why a flow ran, or did not."),
    "explain": ("cli.commands.why:why", "The same as `flows why`."),
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
    "prune": ("cli.commands.history:prune", "Let go of the history of executions that ended longer ago."),
    "db": ("cli.commands.db:db", "Look after the tables of the read model."),
}


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 all is well, 1 it failed or found a problem, 2 it was called wrongly.",
)
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
