"""The log knows who ran a command."""

from __future__ import annotations

import ast
import os
import pwd
import socket
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from bus.clock import now
from bus.envelope import Stored, envelope
from bus.log import Log
from bus.server import Server
from cli import dead, history
from cli.actor import actor
from schemas.events import DeadLettered
from tests.running import ROOT


def test_it_is_the_account_and_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment has no say: anybody may set LOGNAME."""
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, "somebody-else")
    assert actor() == f"{pwd.getpwuid(os.getuid()).pw_name}@{socket.gethostname()}"


def test_an_account_without_a_name_is_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 61_234)
    monkeypatch.setattr(socket, "gethostname", lambda: "h" * 300)
    assert actor().startswith("uid-61234@hhh")
    assert len(actor()) == 255


async def test_what_is_written_to_the_log_says_who_wrote_it(server: Server, log: Log) -> None:
    letter = DeadLettered(
        service="recorder", reason="unusable", sequence=1, subject="dead.recorder.unusable", error="?"
    )
    await log.append([envelope(letter, id="letter", source="test", time=now())], expect={})
    await history.prune(server.url, datetime(2026, 1, 1, tzinfo=UTC))
    await dead.dismiss(server.url, 1)
    found = await log.read(["command.history.prune", "dead.settled.*"])
    assert [entry.envelope.actor for entry in found if isinstance(entry, Stored)] == [actor(), actor()]


def actors() -> Iterator[str]:
    """Yield what is said to be the actor of each message that cli/ makes."""
    for file in sorted((ROOT / "cli").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                yield from (ast.unparse(one.value) for one in node.keywords if one.arg == "actor")


def test_there_is_one_function_for_it() -> None:
    """`ACTOR` is of what nobody asked for: the environment's settings."""
    assert set(actors()) == {"actor()", "ACTOR"}
