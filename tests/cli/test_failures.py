"""What goes wrong is one line for people, with an exit code; a defect of ours is named as one."""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path

import click
import httpx
import pytest
from sqlalchemy.exc import OperationalError

from bus.errors import Unavailable
from bus.server import Server
from cli import failures
from cli.client import Api
from services.database import WrongRevision
from tests.cli.support import flows

pytestmark = pytest.mark.server

NOBODY = "nats://user:hidden@127.0.0.1:1"  # the port of tcpmux: nothing listens there


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (Unavailable("cannot reach NATS"), "cannot reach NATS"),
        (WrongRevision("the database is from an older version"), "the database is from an older version"),
        (FileNotFoundError(2, "No such file or directory", "/x"), "/x: No such file or directory"),
        (OSError("cannot listen on port 1"), "cannot listen on port 1"),
        (ValueError("two\n  lines"), "two lines"),
        (RuntimeError(), "RuntimeError"),
        (httpx.ConnectError("refused"), "the API does not respond: refused"),
        (OperationalError("SELECT x", {}, sqlite3.OperationalError("no such table: x")), "the database: no such table"),
        (KeyError("id"), None),
        (AssertionError(), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_cause_of_an_error(error: Exception, says: str | None) -> None:
    cause = failures.cause_of(error)
    assert (cause or "").startswith(says or "")
    assert (cause is None) == (says is None)
    assert "\n" not in (cause or "")


def run(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    @click.command
    def command() -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["flows"])
    return failures.run(command)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unavailable("away"), 1),
        (click.UsageError("wrong"), 2),
        (click.ClickException("no"), 1),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exit_codes(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(error, monkeypatch) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.strip().count("\n") == 0


def test_a_defect_is_named_and_can_be_looked_into(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FLOWS_TRACEBACK", raising=False)
    assert run(KeyError("id"), monkeypatch) == 1
    said = capsys.readouterr().err
    assert said.startswith("flows: a defect in this program: KeyError: 'id'")
    assert "FLOWS_TRACEBACK=1" in said
    monkeypatch.setenv("FLOWS_TRACEBACK", "1")
    with pytest.raises(KeyError):
        run(KeyError("id"), monkeypatch)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nothing"], 2, "flows: No such command 'nothing'. See `flows --help`"),
        (["log", "--colour"], 2, "flows log: No such option"),
        (["log", "--since", "soon"], 2, "'soon': a time is needed, such as"),
        (["log"], 1, "flows: cannot reach NATS at nats://127.0.0.1:1"),
        (["log", "--data", "/nowhere"], 1, "flows: cannot read /nowhere/nats-url"),
        (["doctor", "--data", "/nowhere"], 1, "flows: cannot read /nowhere/nats-url"),
        (["why", "x", "--data", "/nowhere"], 1, "flows: /nowhere/flows.db does not exist"),
        (["prune", "--keep", "long"], 2, "'long': a number with m, h, d, w or y is needed"),
        (["freeze", "--until", "12h", "--reason", "x"], 2, "'12h': a date and time is needed"),
        (["replay", "--publish-to", "flow.x"], 2, "it must be 'replay', or begin with 'replay.'"),
        (["dead", "show", "x"], 2, "flows dead show: Invalid value for 'SEQUENCE'"),
        (["diff", "/nowhere/a.db", "/nowhere/b.db"], 1, "flows: there is no file /nowhere/a.db"),
        (["diff", "nonsense://x", "nonsense://y"], 1, "flows: the database: "),
        (["diff", "a.db", "postgresql://u:hidden@h/d"], 2, "a password on the command line can be read by every user"),
        (["rebuild", "--into", "postgresql://u:hidden@h/d"], 2, "write the URL to a file and say @FILE"),
        (["rebuild", "--into", "@/nowhere/url"], 2, "cannot read a URL from /nowhere/url"),
        (["restore-log", "--from", "postgresql://h/d?password=hidden"], 2, "leave the password to PGPASSFILE"),
        (["export", "--url", "https://admin:hidden@h"], 2, "the address of the API has no user or password in it"),
        (["export", "--token-file", "/nowhere"], 1, "flows: cannot read the token from /nowhere"),
        (["export", "--token-file", "/bin/sh"], 1, "flows: /bin/sh does not hold a token"),
        (["thaw", "--token-file", "pyproject.toml"], 1, "flows: pyproject.toml does not hold a token"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_line(arguments: list[str], code: int, says: str) -> None:
    done = flows(*arguments, env={"FLOWS_NATS_URL": NOBODY})
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert "hidden" not in done.stderr


def test_an_api_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret-token\n")
    done = flows("thaw", "--url", "http://127.0.0.1:1", "--token-file", str(tmp_path / "token"))
    assert done.returncode == failures.UNREACHABLE == 6
    assert done.stderr.startswith("flows: the API at http://127.0.0.1:1/api/v1/ does not respond")
    assert done.stderr.count("\n") == 1
    assert "secret-token" not in done.stderr


def test_tables_of_another_version_are_one_line(tmp_path: Path) -> None:
    file = tmp_path / "flows.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE somebody_elses (id INTEGER)")
    done = flows("db", "upgrade", "--data", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("flows: the database holds tables of something else")
    assert done.stderr.count("\n") == 1


def test_a_command_prints_its_output_and_nothing_else(tmp_path: Path) -> None:
    """No log lines of a library: migrations used to tell of each step."""
    (tmp_path / "flows.db").touch()
    done = flows("db", "upgrade", "--data", str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "The tables were empty; now they are not.\n", "")


@pytest.mark.parametrize("command", [["log", "--follow"], ["dead", "list"], ["replay"], ["doctor"], ["repair"]])
def test_a_server_without_a_log_is_one_line(command: list[str], server: Server) -> None:
    """`flows dead list` waited for ever for a log to come."""
    (server.folder / "flows.db").touch()
    done = flows(*command, "--data", str(server.folder))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("flows: the log ")
    assert done.stderr.count("\n") == 1


def test_a_service_that_cannot_start_says_so_as_its_other_log_lines() -> None:
    done = flows("serve", "scheduler", env={"FLOWS_NATS_URL": NOBODY})
    assert (done.returncode, done.stdout) == (1, "")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert (lines[-1]["action"], lines[-1]["parts"]) == ("process_failed", ["scheduler"])
    assert lines[-1]["message"].startswith("cannot reach NATS at nats://127.0.0.1:1")
    assert "hidden" not in done.stderr


@pytest.mark.parametrize(
    ("response", "says"),
    [
        (httpx.Response(409, json={"detail": "the name is taken"}), "the name is taken"),
        (httpx.Response(502, text="<html>bad gateway</html>"), "POST /api/v1/policies: 502 Bad Gateway <html>"),
        (httpx.Response(202, json={}, headers={"location": "/api/v1/commands/7"}), "/api/v1/commands/7 tells how it"),
    ],
    ids=["refused", "not the API", "not done yet"],
)
def test_what_the_api_does_not_do_is_an_error(response: httpx.Response, says: str) -> None:
    api = Api("http://api", "token", transport=httpx.MockTransport(lambda _: response))
    with pytest.raises(failures.Failure) as raised:
        api.call("POST", "/policies", json={"name": "x"})
    assert says in str(raised.value)
