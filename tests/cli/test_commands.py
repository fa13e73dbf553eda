"""The table of commands: complete, true, and read without importing what it lists."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

import cli.commands
from cli.main import COMMANDS
from cli.main import cli as flows
from tests.running import ROOT

HEAVY = {"litestar", "sqlalchemy", "alembic", "nats", "faststream", "uvicorn", "httpx", "yaml", "services", "api"}


def declared() -> Iterator[tuple[str, click.Command]]:
    """Yield every command that a module of cli/commands/ declares, but for those inside a group."""
    for module in pkgutil.iter_modules(cli.commands.__path__, "cli.commands."):
        found = vars(importlib.import_module(module.name))
        commands = {name: one for name, one in found.items() if isinstance(one, click.Command)}
        inside = {id(one) for group in commands.values() if isinstance(group, click.Group) for one in nested(group)}
        yield from ((f"{module.name}:{name}", one) for name, one in commands.items() if id(one) not in inside)


def nested(group: click.Group) -> Iterator[click.Command]:
    yield from group.commands.values()


def paths(group: click.Group, *before: str) -> Iterator[tuple[str, ...]]:
    """Yield the names that lead to each command and group."""
    context = click.Context(group)
    for name in group.list_commands(context):
        yield (*before, name)
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from paths(command, *before, name)


def modules_after(*arguments: str) -> set[str]:
    """Return what a process has imported that ran a command."""
    program = f"""
import json, sys
sys.argv = ["flows", *{list(arguments)!r}]
from cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code, end
print("\\n" + json.dumps(sorted(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_table_lists_every_command_that_is_declared() -> None:
    assert {place for place, _ in COMMANDS.values()} == {place for place, _ in declared()}


SAME = {"explain": "why"}  # a second name of a command


@pytest.mark.parametrize("name", COMMANDS)
def test_a_row_says_what_the_command_says(name: str) -> None:
    command = flows.get_command(click.Context(flows), name)
    assert command is not None
    assert command.name == SAME.get(name, name)
    assert command.help is not None
    assert " ".join(command.help.split()).startswith(COMMANDS[name][1])


@pytest.mark.parametrize("path", list(paths(flows)), ids=" ".join)
def test_every_command_has_help(path: tuple[str, ...]) -> None:
    done = CliRunner().invoke(flows, [*path, "--help"], prog_name="flows")
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"Usage: flows {' '.join(path)}")


def test_help_lists_all_commands_in_order_and_the_exit_codes() -> None:
    text = CliRunner().invoke(flows, ["--help"]).output
    listed = [line.split()[0] for line in text.partition("Commands:\n")[2].splitlines() if line[2:3].strip()]
    assert listed[: len(COMMANDS)] == list(COMMANDS)
    assert "Exit codes: 0 all is well, 1 it failed or found a problem, 2 it was called" in text


@pytest.mark.server
def test_the_list_is_shown_without_any_command() -> None:
    modules = modules_after("--help")
    assert {name for name in modules if name.startswith("cli.")} == {
        *("cli.main", "cli.failures", "cli.lazy", "cli.logs", "cli.privacy"),
    }
    assert modules & HEAVY == set()


@pytest.mark.server
@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_help_is_shown_without_what_it_does(name: str) -> None:
    modules = modules_after(name, "--help")
    rooms = {one for one in modules if one.startswith("cli.commands.")}
    assert rooms == {COMMANDS[name][0].partition(":")[0]}
    assert modules & HEAVY == set()


@pytest.mark.server
def test_a_command_imports_what_it_needs() -> None:
    """`flows log` reads the log: it needs the client of NATS, and neither tables nor HTTP."""
    found = imports("cli.commands.log", "cli.log")
    assert "nats" in found
    assert found & (HEAVY - {"nats"}) == set()


def imports(*names: str) -> set[str]:
    program = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program, *names], cwd=ROOT, capture_output=True, text=True, timeout=60)
    return set(done.stdout.split())


def test_main_only_lists() -> None:
    source = (ROOT / "cli" / "main.py").read_text()
    assert len(source.splitlines()) < 80
    names = [node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    assert names == ["cli", "main"]
